import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import LFW100, random_images, reference_map, square, tiny_model
from plqlite.development import joined, measure
from plqlite.experiments.dataset import photos_of
from plqlite.experiments.inpainters import mirror
from plqlite.experiments.inpainting import (
    PLACES,
    disc,
    inpaint_low_region,
    inpainting_experiment,
    inpainting_rows,
    iou,
    low_quality_region,
    qualities,
    verdict,
)
from plqlite.experiments.masks import COLOURS, coloured_mask, place_generator, random_mask, scaled_size
from plqlite.experiments.occluders import occlude
from plqlite.faces import find_faces
from plqlite.reference import deviation, fit_reference_statistics, maps_of


@pytest.fixture
def covered(model):
    """The astronaut with hair in front of her face, and where it is."""
    photo = plqlite.sample_faces()["astronaut"]
    face = find_faces(photo)[0]
    image, mask = occlude(photo, face.landmarks, "hair", seed=0)
    return model.crop(image, face), model.crop_mask(mask, face)


def test_as_many_pixels_are_inpainted_in_each_of_three_places(model, covered):
    image, true_mask = covered
    done = inpaint_low_region(model, image, mirror)
    assert iou(done.mask, true_mask) > 0.5
    assert done.score > 1
    assert list(done.inpainted) == list(PLACES)
    changed = {name: (inpainted != image).any(0) for name, inpainted in done.inpainted.items()}
    assert not (changed["low"] & ~done.mask).any()
    for each in changed.values():
        assert 0 < each.sum() <= done.mask.sum()
    other = inpaint_low_region(model, image, mirror, seed=1)
    assert torch.equal(other.inpainted["low"], done.inpainted["low"])
    assert not torch.equal(other.inpainted["random"], done.inpainted["random"])


def test_the_control_of_high_quality_is_where_the_map_is_high(model, covered):
    image, _ = covered
    changed = (inpaint_low_region(model, image, mirror).inpainted["high"] != image).any(0)
    saliency = plqlite.explain(model, image[None]).saliency[0]
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
    image, true_mask = covered
    done = inpaint_low_region(model, image, mirror)
    rows = inpainting_rows(model, {"ada/1.png": done}, {"ada/1.png": true_mask}, seeds=4)
    row = rows.iloc[0]
    assert row["identity"] == "ada"
    assert row["score"] == done.score
    assert row["area"] == pytest.approx(done.mask.float().mean().item())
    assert row["iou"] == pytest.approx(iou(done.mask, true_mask))
    for column, each in {"quality": image, **done.inpainted}.items():
        assert row[column] == pytest.approx(plqlite.ser_fiq_closed_form(model, each[None]).item(), abs=1e-5)
    before = torch.tensor([plqlite.ser_fiq(model, image[None], seed=seed).item() for seed in range(4)])
    after = [plqlite.ser_fiq(model, done.inpainted["low"][None], seed=seed).item() for seed in range(4)]
    assert row["sampled"] == pytest.approx(before.mean().item(), abs=1e-5)
    assert row["sampled_low"] == pytest.approx(np.mean(after), abs=1e-5)
    assert row["noise"] == pytest.approx(before.std().item(), abs=1e-5)
    assert inpainting_rows(model, {"ada": done}, seeds=2)["iou"].isna().all()


def test_a_face_without_a_low_region_is_left_as_it_is():
    model = tiny_model(size=112)
    image = random_images(1, size=112)[0]
    model.reference_statistics = reference_map(
        torch.full((28, 28), -99.0), torch.ones(28, 28)
    )  # everything is higher than that
    rows = inpainting_experiment(model, {"ada": image}, mirror)
    assert np.isnan(rows["score"][0])
    assert rows["area"][0] == 0
    assert (rows[list(PLACES)].iloc[0] == rows["quality"][0]).all()
    assert verdict(rows)[0] == "within noise"


def test_a_change_counts_beyond_the_noise():
    rows = pd.DataFrame({"sampled": 0.8, "sampled_low": [0.82, 0.81, 0.79, 0.78], "noise": 0.015})
    assert verdict(rows).tolist() == ["up", "within noise", "within noise", "down"]


def test_no_faces_are_an_error(model):
    with pytest.raises(ValueError, match="give at least one face"):
        inpainting_experiment(model, {}, mirror)


def test_iou_is_intersection_over_union():
    first, second = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, False])
    assert iou(first, second) == pytest.approx(1 / 3)
    assert iou(first & second & ~first, second & ~second) == 0


def test_a_region_is_extended_to_the_edges_of_the_image():
    """The map knows only the middle of a square; its colour shows the rest."""
    noise = random_images(1, size=112)[0] / 8 + 150
    mask = square(side=48)
    image = coloured_mask(noise, mask, (20, 90, 200))
    deviation = torch.zeros(112, 112)
    deviation[square(top=37, left=27, side=34)] = -6.0
    region = low_quality_region(deviation, image)
    assert iou(region.mask, mask) > 0.98
    assert 2 < region.score < 6
    again = low_quality_region(deviation, image)
    assert torch.equal(again.mask, region.mask)


def test_the_largest_of_several_regions_is_taken():
    image = random_images(1, size=112)[0] / 8 + 150
    small, large = square(top=5, left=5, side=22), square(top=60, left=50, side=40)
    image = coloured_mask(image, small | large, (20, 90, 200))
    region = low_quality_region(torch.where(small | large, -6.0, 0.0), image)
    assert iou(region.mask, large) > 0.9
    assert not (region.mask & small).any()


def test_of_two_regions_the_one_with_more_low_pixels_is_taken():
    """The other looks alike and is larger, but little of it is low."""
    image = random_images(1, size=112)[0] / 8 + 150
    low, alike = square(top=5, left=5, side=30), square(top=50, left=50, side=50)
    image = coloured_mask(image, low | alike, (20, 90, 200))
    deviation = torch.where(low | square(top=60, left=60, side=22), -6.0, 0.0)
    region = low_quality_region(deviation, image)
    assert (region.mask & low).sum() > 800
    assert not (region.mask & alike).any()


def test_no_region_below_the_threshold_is_none(images):
    assert low_quality_region(torch.full((112, 112), -1.9), random_images(1, size=112)[0]) is None


def test_a_model_without_reference_statistics_and_another_size_are_refused():
    image = random_images(1, size=112)[0]
    with pytest.raises(
        ValueError, match="no reference statistics to compare with: run data_scripts/calibrate"
    ):
        low_quality_region(plqlite.explain(tiny_model(size=112), image[None]).deviation, image)
    with pytest.raises(ValueError, match=r"The map is \(10, 10\), the image \(3, 112, 112\)"):
        low_quality_region(torch.ones(10, 10), image)


@pytest.mark.slow
@pytest.mark.skipif(not LFW100.exists(), reason="needs 50 faces of LFW, which are not part of the product")
def test_squares_on_lfw_are_found_better_than_by_a_scan_that_knows_their_size(model):
    """The scan reaches a mean IoU of 0.70; chance is 0.19. The reference statistics are of other subjects."""
    photos = list(photos_of(LFW100).values())
    faces = torch.cat([plqlite.load_face(photo, model) for photo in photos])
    reference = fit_reference_statistics(joined(measure(model, x) for x in faces[:50].split(10)))
    found = []
    for number, face in enumerate(faces[50:]):
        _, mask = random_mask(face, scaled_size(30, model.size), place_generator(7, 30, str(number)))
        covered = coloured_mask(face, mask, list(COLOURS.values())[number % 12])
        explanation = plqlite.explain(model, covered[None])
        maps = maps_of(explanation.saliency, explanation.signal, explanation.noise)
        region = low_quality_region(deviation(maps, reference, model.size)[0], covered)
        found.append(0 if region is None else iou(region.mask, mask))
    assert np.mean(found) > 0.8
