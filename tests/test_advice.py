import re

import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import ROOT, random_images, tiny_model
from plqlite.advice import MEANINGS, OTHERWISE, meanings_of
from plqlite.calibration import measure, usual_faces
from plqlite.disturb import coloured_mask
from plqlite.faces import REGIONS, align_arcface, crop_box, face_regions, find_faces
from plqlite.icao import (
    Violation,
    align_violation,
    break_all,
    icao_experiment,
    measure_crops,
    touched_regions,
)
from plqlite.measure import localisation_auc, quality_change, region_quality
from plqlite.saliency import region_levels, relative_level
from plqlite.violations import slots

LFW100 = ROOT.parent / "shared" / "data" / "lfw100"


@pytest.fixture
def tiny():
    """A tiny model with what nine random images look like to it."""
    model = tiny_model(size=112)
    model.align = align_arcface
    model.usual = usual_faces(measure(model, random_images(9, size=112, seed=5)))
    return model


def test_regions_lie_where_the_landmarks_are():
    masks = dict(zip(REGIONS, face_regions(plqlite.sface("cpu")), strict=True))
    points = {"left eye": (38, 52), "right eye": (74, 52), "nose": (56, 72), "mouth": (56, 92)}
    for name, (x, y) in points.items():
        assert masks[name][y, x]
        assert [other for other in masks if masks[other][y, x]] == [name]
    assert (masks["left cheek"] == masks["right cheek"].flip(-1)).all()


def test_regions_of_a_box_crop_lie_where_its_landmarks_are(model):
    """On average: the detector's box is not placed by the landmarks."""
    inside = []
    masks = dict(zip(REGIONS, face_regions(model), strict=True))
    for photo in plqlite.sample_faces().values():
        (face,) = find_faces(photo)[:1]
        for name, (x, y) in zip(
            ("left eye", "right eye", "nose"), face.landmarks.round().astype(int), strict=False
        ):
            dot = np.zeros_like(photo)
            dot[y - 1 : y + 2, x - 1 : x + 2] = 255
            seen = model.align(dot, face, model.size)[..., 0]
            row, column = np.unravel_index(seen.argmax(), seen.shape)
            inside.append(masks[name][row, column].item())
    assert np.mean(inside) > (0.7 if model.align is crop_box else 0.95)  # one of nine is in profile


def test_region_levels_by_hand():
    """Half of the map is e, the reference; a region of e⁻² lies at −3, whatever the map's scale."""
    saliency = torch.full((2, 4, 4), np.e)
    saliency[:, :2] = np.exp(-2.0)
    regions = torch.zeros(2, 4, 4, dtype=torch.bool)
    regions[0, :2], regions[1, 1:3] = True, True
    levels = region_levels(saliency * torch.tensor([1.0, 50.0])[:, None, None], regions)
    torch.testing.assert_close(levels, torch.tensor([[-3.0, -1.5], [-3.0, -1.5]]))


def test_region_quality_counts_in_spreads(tiny):
    explanation = plqlite.explain(tiny, random_images(4, size=112))
    levels = region_levels(explanation.saliency, face_regions(tiny))
    z = region_quality(explanation, tiny)
    assert list(z) == list(REGIONS)
    expected = (levels[:, 6] - tiny.usual.region_mean[6]) / tiny.usual.region_spread[6]
    torch.testing.assert_close(z["mouth"], expected)
    with pytest.raises(ValueError, match="tiny does not know how undisturbed faces look: run data_scripts"):
        region_quality(explanation, tiny_model(size=112))


def of_what(tiny, monkeypatch, z, quality=0.7):
    """Advice on made-up numbers."""
    found = {name: torch.tensor([z.get(name, 0.0)]) for name in REGIONS}
    monkeypatch.setattr("plqlite.advice.region_quality", lambda explanation, model: found)
    tiny.usual = tiny.usual._replace(quality=torch.linspace(0, 1, 101))
    original = plqlite.explain

    def explain(model, image):
        done = original(model, image)
        return plqlite.Explanation(torch.tensor([quality]), done.scaled_quality, done.saliency, done.plq)

    monkeypatch.setattr("plqlite.advice.explain", explain)
    return plqlite.advise(tiny, random_images(1, size=112))


def test_advice_says_nothing_when_nothing_is_unusual(tiny, monkeypatch):
    advice = of_what(tiny, monkeypatch, {"chin": -2.9, "nose": 5.0}, quality=0.42)
    assert advice.text == (
        "Nothing unusual: the lowest region is the chin (-2.9 σ).\n"
        "Q = 0.420, higher than 42 % of the development photos."
    )
    assert advice.unusual == []
    assert advice.percentile == pytest.approx(42)
    assert advice.regions["nose"] == 5


def test_advice_names_the_lowest_first_and_what_it_may_mean(tiny, monkeypatch):
    advice = of_what(tiny, monkeypatch, {"chin": -3.5, "mouth": -4.0, "forehead": -6.0, "nose": -3.1})
    assert advice.unusual == ["forehead", "mouth", "chin", "nose"]
    forehead, lower, quality = advice.text.splitlines()
    assert forehead == "Unusually low: forehead (-6.0 σ). May be headgear, hair, or a reflection."
    assert lower.startswith(
        "Unusually low: mouth (-4.0 σ), chin (-3.5 σ), nose (-3.1 σ). May be something in"
    )
    assert "mask" in lower
    assert quality.startswith("Q = 0.700, higher than 70 %")


def test_a_low_quality_alone_is_said(tiny, monkeypatch):
    text = of_what(tiny, monkeypatch, {}, quality=0.005).text
    assert "Nothing unusual" not in text
    assert "No region stands out: look at sharpness, light and pose." in text
    assert "look at" not in of_what(tiny, monkeypatch, {"nose": -9.0}, quality=0.005).text


def test_meanings_take_their_regions():
    assert meanings_of([]) == []
    assert meanings_of(["nose"]) == [(["nose"], OTHERWISE)]
    both = meanings_of(["right cheek", "right eye", "left eye"])  # both eyes come first
    assert [regions for regions, _ in both] == [["right cheek"], ["right eye", "left eye"]]
    (side,) = meanings_of(["left cheek", "left eye"])
    assert "left of the picture" in side[1]
    for regions, meaning in MEANINGS.items():
        assert meanings_of(list(regions)) == [(list(regions), meaning)]
        assert set(regions) <= set(REGIONS)


def test_advice_takes_one_image(tiny):
    with pytest.raises(ValueError, match="2 images: give advice on one at a time"):
        plqlite.advise(tiny, random_images(2, size=112))


def test_a_covered_region_of_a_sample_face_falls(model, faces):
    """Each of eight blocks on nine faces lowers the z of its own region most, nearly always."""
    regions = face_regions(model)
    clean = region_quality(plqlite.explain(model, faces, None), model)
    right = []
    for name, mask in zip(REGIONS, regions, strict=True):
        blocks = torch.stack([coloured_mask(face, mask, (128, 128, 128)) for face in faces])
        z = region_quality(plqlite.explain(model, blocks, None), model)
        fall = torch.stack([clean[other] - z[other] for other in REGIONS])  # (8, 9)
        right += (fall.argmax(0) == list(REGIONS).index(name)).tolist()
    assert np.mean(right) > 0.8


def test_a_face_that_has_moved_is_found_again():
    model, photo = plqlite.sface("cpu"), plqlite.sample_faces()["astronaut"]
    face, violations = break_all(photo)
    crops = {name: align_violation(model, each, face) for name, each in violations.items()}
    assert list(crops) == ["reference", *slots()]
    assert all(crop.found for crop in crops.values())
    torch.testing.assert_close(crops["reference"].image[None], plqlite.load_face(photo, model))
    for name in ("pose-roll", "pose-yaw"):  # aligned as any photo would be
        torch.testing.assert_close(crops[name].image[None], plqlite.load_face(violations[name].photo, model))
    mask = crops["face-mask-blue"].mask
    assert mask[92, 56]
    assert not mask[52, 38]


def test_a_face_that_is_lost_is_aligned_as_before_and_said_to_be_lost():
    model, photo = plqlite.sface("cpu"), plqlite.sample_faces()["astronaut"]
    (face,) = find_faces(photo)
    black = Violation(np.zeros_like(photo), None, True)
    crop = align_violation(model, black, face)
    assert not crop.found
    assert crop.image.shape == (3, 112, 112)
    assert not crop.image.any()
    with pytest.raises(plqlite.NoFaceFound, match="No face found in an image of 512×512"):
        break_all(np.zeros_like(photo))


def test_the_experiment_measures_what_it_says(model):
    photo = plqlite.sample_faces()["grace_hopper"]
    face, violations = break_all(photo, seed=2)
    crops = {name: align_violation(model, each, face) for name, each in violations.items()}
    rows = icao_experiment([model], {"hopper/1": photo}, seed=2)
    assert rows["slot"].tolist() == list(crops)
    assert set(rows["identity"]) == {"hopper"}
    assert rows["kind"].nunique() == 13
    name = "glasses-dark"
    row = rows.set_index("slot").loc[name]
    images = torch.stack([crops["reference"].image, crops[name].image])
    clean, broken = (plqlite.explain(model, image[None], None) for image in images)
    assert row["delta_q"] == pytest.approx(quality_change(clean, broken).item(), abs=1e-4)
    z = region_quality(broken, model)
    assert row["nose"] == pytest.approx(z["nose"].item(), abs=1e-3)
    assert row["lowest"] == min(z, key=lambda region: z[region].item())
    assert row["touched"] == touched_regions(model, crops[name].mask)
    assert {"left eye", "right eye"} <= set(row["touched"])
    assert "chin" not in row["touched"]
    fall = relative_level(clean.saliency) - relative_level(broken.saliency)
    coarse = torch.nn.functional.adaptive_avg_pool2d(crops[name].mask[None].float(), 28)[0] > 0.5
    assert row["auc"] == pytest.approx(localisation_auc(-fall[0], coarse), abs=1e-3)
    ranks = [relative_level(each.saliency).flatten().argsort().argsort().double() for each in (clean, broken)]
    assert row["kept"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-3)
    reference = rows.iloc[0]
    assert (reference["delta_q"], reference["touched"]) == (0, [])
    assert reference["kept"] == pytest.approx(1)
    assert np.isnan(reference["auc"])
    again = measure_crops(model, crops)
    pd.testing.assert_series_equal(again["quality"], rows["quality"])


@pytest.mark.skipif(not LFW100.exists(), reason="needs 100 faces of LFW, which are not part of the product")
def test_advice_on_lfw_is_right(run_script, tmp_path, capsys):
    run_script("check_advice", LFW100, "--out", tmp_path / "advice.csv")
    printed = capsys.readouterr().out
    for name, at_least in (("sface", 93), ("facenet", 85)):
        shares = dict(re.findall(rf"^{name}: (.*): (\d+)% \[", printed, re.M))
        assert int(shares["the lowest region is the covered one"]) >= at_least
        assert int(shares["of a clean face, nothing is said"]) >= 90
