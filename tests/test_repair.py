import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import random_images, tiny_model, usual_map
from plqlite.faces import find_faces
from plqlite.inpaint import mirror
from plqlite.occluders import occlude
from plqlite.repair import (
    FILLED,
    disc,
    inpainting_experiment,
    measure_repairs,
    overlap,
    qualities,
    repair,
    verdict,
)


@pytest.fixture
def covered(model):
    """The astronaut with a hand in front of her, and where it is."""
    photo = plqlite.sample_faces()["astronaut"]
    face = find_faces(photo)[0]
    image, mask = occlude(photo, face.landmarks, "hair", seed=0)
    white = np.repeat(np.uint8(mask)[..., None] * 255, 3, 2)
    images = [torch.from_numpy(model.align(each, face, model.size)) for each in (image, white)]
    return images[0].permute(2, 0, 1).float(), images[1][..., 0] > 127


def test_a_repair_fills_in_the_same_number_of_pixels_in_three_places(model, covered):
    image, truth = covered
    done = repair(model, image, mirror)
    assert overlap(done.mask, truth) > 0.5
    assert done.score > 1
    assert list(done.filled) == list(FILLED)
    changed = {name: (filled != image).any(0) for name, filled in done.filled.items()}
    assert not (changed["low"] & ~done.mask).any()
    for each in changed.values():
        assert 0 < each.sum() <= done.mask.sum()
    other = repair(model, image, mirror, seed=1)
    assert torch.equal(other.filled["low"], done.filled["low"])
    assert not torch.equal(other.filled["random"], done.filled["random"])


def test_the_control_of_high_quality_lies_where_the_map_is_high(model, covered):
    image, _ = covered
    changed = (repair(model, image, mirror).filled["high"] != image).any(0)
    saliency = plqlite.explain(model, image[None], passes=None).saliency[0]
    assert saliency[changed].mean() > 1.5 * saliency[~changed].mean()


def test_a_disc_has_as_many_pixels_as_it_is_asked_for():
    image = torch.zeros(3, 40, 50)
    for centre in ((20.3, 25.1), (0, 0), (39, 10)):
        for count in (1, 7, 300):
            mask = disc(image, centre, count)
            assert mask.shape == (40, 50)
            assert mask.sum() == count
            rows, columns = mask.nonzero().T
            reach = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2).max()
            outside = (~mask).nonzero()
            assert ((outside - torch.tensor(centre)) ** 2).sum(1).min() >= reach - 1e-3


def test_qualities_are_ser_fiq_seed_by_seed(tiny, images):
    found = qualities(tiny, images, seeds=3, passes=20)
    for seed in range(3):
        torch.testing.assert_close(found[seed], plqlite.ser_fiq(tiny, images, passes=20, seed=seed))


def test_the_table_holds_what_was_measured(model, covered):
    image, truth = covered
    done = repair(model, image, mirror)
    rows = measure_repairs(model, {"ada/1.png": done}, {"ada/1.png": truth}, seeds=4)
    row = rows.iloc[0]
    assert row["identity"] == "ada"
    assert row["score"] == done.score
    assert row["area"] == pytest.approx(done.mask.float().mean().item())
    assert row["iou"] == pytest.approx(overlap(done.mask, truth))
    for column, each in {"quality": image, **done.filled}.items():
        assert row[column] == pytest.approx(plqlite.ser_fiq_closed_form(model, each[None]).item(), abs=1e-5)
    before = torch.tensor([plqlite.ser_fiq(model, image[None], seed=seed).item() for seed in range(4)])
    after = [plqlite.ser_fiq(model, done.filled["low"][None], seed=seed).item() for seed in range(4)]
    assert row["sampled"] == pytest.approx(before.mean().item(), abs=1e-5)
    assert row["sampled_low"] == pytest.approx(np.mean(after), abs=1e-5)
    assert row["noise"] == pytest.approx(before.std().item(), abs=1e-5)
    assert measure_repairs(model, {"ada": done}, seeds=2)["iou"].isna().all()


def test_a_face_without_an_unusual_region_is_left_as_it_is():
    model = tiny_model(size=112)
    image = random_images(1, size=112)[0]
    model.usual = usual_map(torch.full((28, 28), -99.0), torch.ones(28, 28))  # everything is higher than that
    rows = inpainting_experiment(model, {"ada": image}, mirror)
    assert np.isnan(rows["score"][0])
    assert rows["area"][0] == 0
    assert (rows[list(FILLED)].iloc[0] == rows["quality"][0]).all()
    assert verdict(rows)[0] == "within noise"


def test_a_change_counts_beyond_the_noise():
    rows = pd.DataFrame({"sampled": 0.8, "sampled_low": [0.82, 0.81, 0.79, 0.78], "noise": 0.015})
    assert verdict(rows).tolist() == ["up", "within noise", "within noise", "down"]


def test_nothing_to_fill_in_is_an_error(model):
    with pytest.raises(ValueError, match="give at least one face"):
        inpainting_experiment(model, {}, mirror)


def test_overlap_is_intersection_over_union():
    first, second = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, False])
    assert overlap(first, second) == pytest.approx(1 / 3)
    assert overlap(first & second & ~first, second & ~second) == 0
