import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import random_images, square
from plqlite.experiments.inpainters import (
    INPAINTERS,
    average_face,
    biharmonic,
    inpaint,
    lama,
    mirror,
    navier_stokes,
    telea,
)

SYMMETRIC = (random_images(1, size=112)[0] + random_images(1, size=112)[0].flip(-1)) / 2

RAMP = torch.linspace(40, 200, 112).expand(3, 112, 112).clone()


@pytest.mark.parametrize("name", [name for name in INPAINTERS if name != "lama"])
def test_the_rest_stays_as_it_is_and_the_mask_is_inpainted(name):
    mask = square()
    image = torch.where(mask, 0.0, RAMP)
    inpainted = inpaint(image, mask, INPAINTERS[name])
    assert inpainted.shape == image.shape
    assert inpainted.dtype == image.dtype
    assert torch.equal(inpainted[:, ~mask], image[:, ~mask])
    assert inpainted[:, mask].min() > 30
    if name != "mirror":  # a ramp is not symmetric
        assert (inpainted - RAMP)[:, mask].abs().mean() < 8


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
    inpainted = inpaint(torch.where(mask, 0.0, darker), mask, average_face(faces))
    torch.testing.assert_close(inpainted, darker, atol=0.1, rtol=0)


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
    with pytest.raises(
        ValueError, match=r"The inpainter returned \(3, 56, 56\) for an image of \(3, 112, 112\)"
    ):
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
    inpainted = inpaint(RAMP, square(), lama)
    assert seen["image"].dtype == seen["mask"].dtype == np.uint8
    assert seen["mask"].max() == 255
    torch.testing.assert_close(inpainted[:, square()], RAMP[:, square()] / 2, atol=1, rtol=0)


@pytest.mark.parametrize(("change", "message"), [(1 / 255, "multiply by 255"), (float("nan"), "NaN")])
def test_pixels_of_another_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        inpaint(SYMMETRIC * change, square(), mirror)
    with pytest.raises(ValueError, match=message):
        average_face(SYMMETRIC[None] * change)


def test_nobody_has_no_average():
    with pytest.raises(ValueError, match="0 faces: an average takes one or more"):
        average_face(torch.zeros(0, 3, 112, 112))
