import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import plqlite
from conftest import ROOT, random_images, tiny_model, usual_map
from plqlite.calibration import Measured, joined, measure, usual_faces
from plqlite.dataset import photos_of
from plqlite.disturb import COLOURS, coloured_mask, place_generator, random_mask, scaled_size
from plqlite.inpaint import (
    INPAINTERS,
    average_face,
    below_usual,
    biharmonic,
    inpaint,
    lama,
    low_quality_region,
    mirror,
    navier_stokes,
    telea,
)
from plqlite.repair import overlap
from plqlite.saliency import relative_level

LFW100 = ROOT.parent / "shared" / "data" / "lfw100"
FLAT = usual_map(torch.zeros(28, 28), torch.ones(28, 28))


def square(size=112, top=30, left=20, side=30):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("size", [112, 160])
def test_relative_level_knows_neither_scale_nor_size(size):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 28, 28, generator=generator) + 0.1
    small = torch.nn.functional.interpolate(coarse, (112, 112), mode="nearest")[:, 0]
    large = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[:, 0]
    assert relative_level(large).shape == (2, 28, 28)
    torch.testing.assert_close(relative_level(1e-7 * small), relative_level(small), atol=1e-4, rtol=0)
    assert (relative_level(large) - relative_level(small)).abs().mean() < 0.05


def test_relative_level_is_measured_against_the_better_half():
    saliency = torch.ones(1, 112, 112)
    assert relative_level(saliency).abs().max() < 1e-6
    saliency[0, :40] = 1e-3  # a third is low: the rest stays at zero
    level = relative_level(saliency)[0]
    assert level[14:].abs().max() < 1e-5
    assert level[:8].max() < -6


def test_what_is_usual_is_mean_spread_and_percentiles():
    levels = torch.stack([torch.full((28, 28), value) for value in (1.0, 3.0)])
    quality, regions = torch.tensor([0.2, 0.6]), torch.tensor([[1.0] * 8, [5.0] * 8])
    measured = Measured(quality, quality, quality, levels, regions)
    usual = usual_faces(measured)
    assert (usual.mean == 2).all()
    torch.testing.assert_close(usual.spread, torch.full((28, 28), 2**0.5))
    assert (usual.region_mean == 3).all()
    torch.testing.assert_close(usual.region_spread, torch.full((8,), 8**0.5))
    torch.testing.assert_close(usual.quality[[0, 25, 100]], torch.tensor([0.2, 0.3, 0.6]))
    with pytest.raises(ValueError, match="1 faces: what is usual takes at least 2"):
        usual_faces(Measured(*(each[:1] for each in measured)))


def test_lower_than_usual_counts_not_low():
    saliency = torch.ones(1, 112, 112)
    saliency[0, :56] = 0.01
    low_above = relative_level(saliency)[0]
    assert below_usual(saliency, FLAT)[0, :40].min() > 3
    assert below_usual(saliency, usual_map(low_above, torch.ones(28, 28))).abs().max() < 1e-5
    assert below_usual(saliency, usual_map(low_above + 1, torch.full((28, 28), 2.0)))[
        0, 20, 20
    ] == pytest.approx(0.5)


def test_a_region_is_extended_to_the_edges_of_the_image():
    """The map knows only the middle of a square; its colour shows the rest."""
    noise = random_images(1, size=112)[0] / 8 + 150
    mask = square(side=48)
    image = coloured_mask(noise, mask, (20, 90, 200))
    saliency = torch.ones(112, 112)
    saliency[square(top=37, left=27, side=34)] = 1e-3
    region = low_quality_region(saliency, image, FLAT)
    assert overlap(region.mask, mask) > 0.98
    assert 0.5 < region.score < 6.9
    again = low_quality_region(saliency, image, FLAT)
    assert torch.equal(again.mask, region.mask)


def test_the_largest_of_several_regions_is_taken():
    image = random_images(1, size=112)[0] / 8 + 150
    small, large = square(top=5, left=5, side=22), square(top=60, left=50, side=40)
    image = coloured_mask(image, small | large, (20, 90, 200))
    saliency = torch.where(small | large, 1e-3, 1.0)
    region = low_quality_region(saliency, image, FLAT)
    assert overlap(region.mask, large) > 0.9
    assert not (region.mask & small).any()


def test_of_two_regions_the_one_with_more_low_pixels_is_taken():
    """The other looks alike and is larger, but little of it is low."""
    image = random_images(1, size=112)[0] / 8 + 150
    low, alike = square(top=5, left=5, side=30), square(top=50, left=50, side=50)
    image = coloured_mask(image, low | alike, (20, 90, 200))
    saliency = torch.where(low | square(top=60, left=60, side=22), 1e-3, 1.0)
    region = low_quality_region(saliency, image, FLAT)
    assert (region.mask & low).sum() > 800
    assert not (region.mask & alike).any()


def test_no_region_below_the_threshold_is_none(images):
    assert low_quality_region(torch.ones(112, 112), random_images(1, size=112)[0], FLAT) is None


def test_a_model_without_a_usual_map_and_another_size_are_refused():
    image = random_images(1, size=112)[0]
    with pytest.raises(ValueError, match="no usual map to compare with: run data_scripts/calibrate"):
        low_quality_region(torch.ones(112, 112), image, tiny_model().usual)
    with pytest.raises(ValueError, match=r"The map is \(10, 10\), the image \(3, 112, 112\)"):
        low_quality_region(torch.ones(10, 10), image, FLAT)


@pytest.mark.skipif(not LFW100.exists(), reason="needs 50 faces of LFW, which are not part of the product")
def test_squares_on_lfw_are_found_better_than_by_a_scan_that_knows_their_size(model):
    """The scan reaches a mean IoU of 0.70; chance is 0.19. The usual map comes from other people."""
    photos = list(photos_of(LFW100).values())
    faces = torch.cat([plqlite.load_face(photo, model) for photo in photos])
    usual, found = usual_faces(joined(measure(model, x) for x in faces[:50].split(10))), []
    for number, face in enumerate(faces[50:]):
        _, mask = random_mask(face, scaled_size(30, model.size), place_generator(7, 30, str(number)))
        covered = coloured_mask(face, mask, list(COLOURS.values())[number % 12])
        region = low_quality_region(plqlite.explain(model, covered[None], None).saliency[0], covered, usual)
        found.append(0 if region is None else overlap(region.mask, mask))
    assert np.mean(found) > 0.8


SYMMETRIC = (random_images(1, size=112)[0] + random_images(1, size=112)[0].flip(-1)) / 2
RAMP = torch.linspace(40, 200, 112).expand(3, 112, 112).clone()


@pytest.mark.parametrize("name", [name for name in INPAINTERS if name != "lama"])
def test_the_rest_stays_as_it_is_and_the_hole_is_filled(name):
    mask = square()
    image = torch.where(mask, 0.0, RAMP)
    filled = inpaint(image, mask, INPAINTERS[name])
    assert filled.shape == image.shape
    assert filled.dtype == image.dtype
    assert torch.equal(filled[:, ~mask], image[:, ~mask])
    assert filled[:, mask].min() > 30
    if name != "mirror":  # a ramp is not symmetric
        assert (filled - RAMP)[:, mask].abs().mean() < 8


def test_mirror_restores_a_symmetric_face():
    mask = square(left=10)
    torch.testing.assert_close(inpaint(torch.where(mask, 0.0, SYMMETRIC), mask, mirror), SYMMETRIC)


def test_mirror_leaves_what_is_masked_on_both_sides_to_telea():
    mask = square(left=45, side=30) | square(left=5, side=20)  # the second one has a free counterpart
    image = torch.where(mask, 0.0, RAMP)
    both = mask & mask.flip(-1)
    half = torch.where(mask & ~both, image.flip(-1), image)
    expected = torch.where(mask, torch.where(both, telea(half, both), half), image)
    assert torch.equal(inpaint(image, mask, mirror), expected)


def test_average_face_takes_the_average_with_the_contrast_of_the_image():
    mask = square(left=40, side=32)
    faces = random_images(5, size=112)
    average = torch.cat([faces, faces.flip(-1)]).mean(0)
    darker = 0.5 * average + 10
    filled = inpaint(torch.where(mask, 0.0, darker), mask, average_face(faces))
    torch.testing.assert_close(filled, darker, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(112, 112, dtype=torch.bool), "covers 0 of 12544 pixels"),
        (torch.ones(112, 112, dtype=torch.bool), "covers 12544 of 12544 pixels"),
        (torch.zeros(50, 50, dtype=torch.bool), r"The mask is \(50, 50\)"),
        (torch.full((112, 112), 0.5), "The mask is of torch.float32: compare it"),
    ],
)
def test_bad_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        inpaint(SYMMETRIC, mask, mirror)


def test_an_inpainter_that_returns_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"The inpainter returned \(3, 56, 56\) of \(3, 112, 112\)"):
        inpaint(SYMMETRIC, square(), lambda image, mask: image[:, ::2, ::2])


def test_opencv_and_scikit_image_get_what_they_expect():
    """A face in double precision, and one that requires a gradient's dtype, come back as they were."""
    image = RAMP.double()
    for function in (telea, navier_stokes, biharmonic, mirror):
        assert inpaint(image, square(), function).dtype == torch.float64


def test_lama_asks_for_its_package():
    with pytest.raises(ImportError, match="pip install --no-deps simple-lama-inpainting"):
        lama(SYMMETRIC, square())


def test_lama_gets_bytes_and_its_padding_is_cut_off(monkeypatch):
    seen = {}

    class SimpleLama:
        def __init__(self, device):
            seen["device"] = device

        def __call__(self, image, mask):
            seen.update(image=image, mask=mask)
            return np.pad(image // 2, ((0, 8), (0, 8), (0, 0)))

    monkeypatch.setitem(sys.modules, "simple_lama_inpainting", SimpleNamespace(SimpleLama=SimpleLama))
    filled = inpaint(RAMP, square(), lama)
    assert seen["image"].dtype == seen["mask"].dtype == np.uint8
    assert seen["mask"].max() == 255
    torch.testing.assert_close(filled[:, square()], RAMP[:, square()] / 2, atol=1, rtol=0)
