import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import plqlite
from conftest import random_images
from plqlite.disturb import (
    COLOURS,
    SIZES,
    coloured_mask,
    place_generator,
    random_mask,
    scaled_size,
    skin_colour,
)


@settings(deadline=None)
@given(height=st.integers(10, 60), width=st.integers(10, 60), seed=st.integers(0, 999), data=st.data())
def test_a_mask_is_a_black_square_in_the_inner_part(height, width, seed, data):
    image = torch.full((3, height, width), 7.0)
    largest = min(side - 2 * -(-side // 20) for side in (height, width))  # a twentieth, rounded up
    size = data.draw(st.integers(1, largest))
    masked, mask = random_mask(image, size, np.random.default_rng(seed))
    rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
    assert mask.sum() == size**2
    assert len(rows) == len(columns) == size
    for place, side in ((rows, height), (columns, width)):
        assert 0.05 * side <= place[0] + 1e-9
        assert place[-1] + 1 <= 0.95 * side + 1e-9
    assert (masked[:, mask] == 0).all()
    assert (masked[:, ~mask] == 7).all()
    assert (image == 7).all()


def test_masks_reach_every_corner_of_the_inner_part():
    rng = np.random.default_rng(0)
    corners = [random_mask(torch.ones(3, 20, 20), 16, rng)[1].nonzero()[0].tolist() for _ in range(200)]
    assert {tuple(corner) for corner in corners} == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


@pytest.mark.parametrize("size", [0, -1, 102, 112, 500])
def test_a_mask_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=r"does not fit into the inner 90% .* choose 1 to 100"):
        random_mask(torch.ones(3, 112, 112), size, np.random.default_rng(0))


def test_a_place_depends_on_seed_size_and_name_alone():
    image = torch.ones(3, 112, 112)
    names = ("ada/1.png", "ada/2.png", "bob/1.png")
    keys = [(seed, size, name) for seed in (0, 1) for size in (10, 20) for name in names]
    places = [random_mask(image, 10, place_generator(*key))[1] for key in keys]
    again = [random_mask(image, 10, place_generator(*key))[1] for key in reversed(keys)]
    assert all((a == b).all() for a, b in zip(places, reversed(again), strict=True))
    assert len({tuple(place.nonzero()[0].tolist()) for place in places}) == len(keys)


def test_sizes_are_those_of_the_paper_and_scale():
    assert SIZES == (10, 20, 30, 40, 50)
    assert [scaled_size(size, 112) for size in SIZES] == list(SIZES)
    assert [scaled_size(size, 160) for size in SIZES] == [14, 29, 43, 57, 71]


def test_a_mask_may_have_any_colour_and_shape():
    (image,) = random_images(1)
    mask = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) > 0.5
    covered = coloured_mask(image, mask, (1, 2, 3))
    assert (covered[:, mask] == torch.tensor([[1.0], [2.0], [3.0]])).all()
    assert (covered[:, ~mask] == image[:, ~mask]).all()
    assert covered.dtype == image.dtype


def test_the_colours_are_twelve_and_far_apart():
    colours = torch.tensor(list(COLOURS.values())).float()
    assert len(colours) == 12
    assert torch.pdist(colours).min() > 75
    assert colours.min() == 0
    assert colours.max() == 255


def test_skin_is_measured_where_nose_and_cheeks_are():
    image = torch.zeros(3, 112, 112)
    image[:, 60:78, 36:76] = torch.tensor([200.0, 150.0, 120.0]).view(3, 1, 1)
    assert skin_colour(image) == (200.0, 150.0, 120.0)


def test_skin_of_the_portraits_looks_like_skin(model):
    """Red over green over blue, and neither dark nor white, as of both portraits."""
    photos = plqlite.sample_faces()
    for name in ("astronaut", "grace_hopper"):
        red, green, blue = skin_colour(plqlite.load_face(photos[name], model)[0])
        assert 250 > red > green > blue > 60, name
