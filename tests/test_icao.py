import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import tiny_model
from plqlite.experiments.icao import (
    align_simulated,
    frame_and_lenses,
    icao_experiment,
    icao_rows,
    simulate_all,
    touched_regions,
)
from plqlite.experiments.noncompliance import NON_COMPLIANCES, Simulated
from plqlite.experiments.statistics import localisation_auc, quality_change
from plqlite.faces import REGIONS, find_faces
from plqlite.reference import relative_level
from plqlite.regions import face_regions, region_z_scores


@pytest.mark.slow
def test_a_face_that_has_moved_is_found_again(sface):
    model, photo = sface, plqlite.sample_faces()["astronaut"]
    face, simulated = simulate_all(photo)
    crops = {name: align_simulated(model, each, face) for name, each in simulated.items()}
    assert list(crops) == ["reference", *NON_COMPLIANCES]
    assert all(crop.found for crop in crops.values())
    torch.testing.assert_close(crops["reference"].image[None], plqlite.load_face(photo, model))
    for name in ("pose-roll", "pose-yaw"):  # aligned as any photo would be
        torch.testing.assert_close(crops[name].image[None], plqlite.load_face(simulated[name].photo, model))
    mask = crops["face-mask-blue"].mask
    assert mask[92, 56]
    assert not mask[52, 38]


def test_a_face_that_is_lost_is_aligned_as_before_and_said_to_be_lost(sface):
    model, photo = sface, plqlite.sample_faces()["astronaut"]
    (face,) = find_faces(photo)
    black = Simulated(np.zeros_like(photo), None, True)
    crop = align_simulated(model, black, face)
    assert not crop.found
    assert crop.image.shape == (3, 112, 112)
    assert not crop.image.any()
    with pytest.raises(plqlite.NoFaceFound, match="No face found in an image of 512×512"):
        simulate_all(np.zeros_like(photo))
    with pytest.raises(ValueError, match="No photos: give at least one"):
        icao_experiment([model], {})
    with pytest.raises(
        ValueError, match="tiny has no reference statistics to compare with: run data_scripts"
    ):
        icao_experiment([tiny_model()], {"ada": photo})


def test_another_face_is_not_taken_for_the_one_that_was_lost(sface):
    """Two faces: the nearer one counts, and none that is far away."""
    model, astronaut = sface, plqlite.sample_faces()["astronaut"]
    pair = np.concatenate([astronaut, astronaut], axis=1)
    for face in find_faces(pair):
        crop = align_simulated(model, Simulated(pair, None, True), face)
        assert crop.found
        assert torch.equal(crop.image, model.crop(pair, face))
        left, top, right, bottom = face.box.astype(int)
        lost = pair.copy()
        lost[top - 20 : bottom + 20, left - 20 : right + 20] = 0
        crop = align_simulated(model, Simulated(lost, None, True), face)
        assert not crop.found
        assert torch.equal(crop.image, model.crop(lost, face))


def test_a_region_counts_as_touched_from_a_tenth_on(sface):
    mouth = face_regions(sface)[list(REGIONS).index("mouth")].nonzero()  # (n, 2)
    for share, touched in ((0.08, []), (0.15, ["mouth"])):
        mask = torch.zeros(112, 112, dtype=torch.bool)
        mask[tuple(mouth[: round(share * len(mouth))].T)] = True
        assert touched_regions(sface, mask) == touched


@pytest.fixture
def one_of_each_kind(keep_only):
    """Leave one non-compliance of each kind, of which each is measured alike."""
    left = {each.kind: name for name, each in NON_COMPLIANCES.items()}
    left |= {"glasses": "glasses-dark", "blur": "blur-defocus"}
    keep_only(left.values())


@pytest.mark.slow
@pytest.mark.usefixtures("one_of_each_kind")
def test_the_experiment_measures_what_it_says(model):
    photo = plqlite.sample_faces()["grace_hopper"]
    face, simulated = simulate_all(photo, seed=2)
    crops = {name: align_simulated(model, each, face) for name, each in simulated.items()}
    rows = icao_experiment([model], {"hopper/1": photo}, seed=2)
    assert rows["slot"].tolist() == list(crops)
    assert set(rows["identity"]) == {"hopper"}
    assert rows["kind"].nunique() == 13
    name = "glasses-dark"
    row = rows.set_index("slot").loc[name]
    images = torch.stack([crops["reference"].image, crops[name].image])
    clean, dark = (plqlite.explain(model, image[None], None) for image in images)
    assert row["delta_q"] == pytest.approx(quality_change(clean, dark).item(), abs=1e-4)
    z = region_z_scores(dark.deviation, model)
    assert row["nose"] == pytest.approx(z["nose"].item(), abs=1e-3)
    assert row["lowest"] == min(z, key=lambda region: z[region].item())
    assert row["touched"] == touched_regions(model, crops[name].mask)
    assert {"left eye", "right eye"} <= set(row["touched"])
    assert "chin" not in row["touched"]
    fall = relative_level(clean.saliency) - relative_level(dark.saliency)
    coarse = torch.nn.functional.adaptive_avg_pool2d(crops[name].mask[None].float(), 28)[0] > 0.5
    assert row["auc"] == pytest.approx(localisation_auc(-fall[0], coarse), abs=1e-3)
    plq = [torch.nn.functional.adaptive_avg_pool2d(each.plq, 28)[0] for each in (clean, dark)]
    assert row["auc_plq"] == pytest.approx(localisation_auc(plq[1] - plq[0], coarse), abs=1e-3)
    deviation = torch.nn.functional.adaptive_avg_pool2d(dark.deviation, 28)[0]
    assert row["auc_deviation"] == pytest.approx(localisation_auc(deviation, coarse), abs=1e-3)
    alone = localisation_auc(relative_level(dark.saliency)[0], coarse)
    assert row["auc_alone"] == pytest.approx(alone, abs=1e-3)
    blurred = relative_level(plqlite.explain(model, crops["blur-defocus"].image[None], None).saliency)
    control = localisation_auc((blurred - relative_level(clean.saliency))[0], coarse)
    assert row["auc_blur"] == pytest.approx(control, abs=1e-3)
    ranks = [relative_level(each.saliency).flatten().argsort().argsort().double() for each in (clean, dark)]
    assert row["rank_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-3)
    reference = rows.iloc[0]
    assert (reference["delta_q"], reference["touched"]) == (0, [])
    assert reference["rank_correlation"] == pytest.approx(1)
    assert np.isnan(reference["auc"])
    again = icao_rows(model, crops)
    pd.testing.assert_series_equal(again["quality"], rows["quality"])


def test_the_level_of_a_whole_map_does_not_count_for_glasses():
    frame = torch.zeros(9, 9, dtype=torch.bool)
    frame[2:7, 2:7] = True
    frame[4, 4] = False
    pair = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0)) + 0.5
    brighter = pair * torch.tensor([1.0, 3.0])[:, None, None]
    assert frame_and_lenses(brighter, frame) == pytest.approx(frame_and_lenses(pair, frame), abs=1e-5)
