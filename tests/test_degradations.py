"""Degraded photos: worse in the way that is said, chosen by a seed."""

import numpy as np
import pytest

import plqlite
from plqlite.experiments.degradations import EVERYWHERE, KINDS, SENSOR, degrade, degraded_versions
from plqlite.experiments.occluders import OCCLUDERS
from plqlite.faces import CANONICAL_LANDMARKS, largest_face

PHOTO = plqlite.sample_faces()["astronaut"]


@pytest.fixture(scope="module")
def landmarks():
    return largest_face(PHOTO).landmarks


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_photo_and_only_occluders_have_a_place(kind, landmarks):
    before = PHOTO.copy()
    found = degrade(PHOTO, landmarks, kind, seed=1)
    assert found.photo.dtype == np.uint8
    assert found.photo.shape == PHOTO.shape
    assert (found.photo != PHOTO).mean() > 0.002
    assert (PHOTO == before).all()
    assert (found.mask is not None) == (kind in OCCLUDERS)
    assert found.moved == kind.startswith("pose")
    assert (degrade(PHOTO, landmarks, kind, seed=1).photo == found.photo).all()
    assert any((degrade(PHOTO, landmarks, kind, seed).photo != found.photo).any() for seed in (2, 3, 4))


def test_sensors_get_worse_with_strength(landmarks):
    for kind, effect in SENSOR.items():
        weak, strong = (
            effect(PHOTO, landmarks, strength, np.random.default_rng(0)).astype(float)
            for strength in (0.3, 1)
        )
        assert np.abs(strong - PHOTO).mean() > 1.3 * np.abs(weak - PHOTO).mean() > 0.5, kind


def test_noise_stays_within_the_grey_levels(landmarks):
    for grey in (0, 255):
        flat = np.full((64, 64, 3), grey, np.uint8)
        noisy = SENSOR["noise"](flat, landmarks, 1.0, np.random.default_rng(0)).astype(float)
        assert np.abs(noisy - grey).max() < 255 - 40  # black does not turn white


def test_resolution_is_that_of_the_face(landmarks):
    """At full strength the eyes are 8 pixels apart, in a large photo as in a small one."""
    apart = np.linalg.norm(landmarks[1] - landmarks[0])
    row = PHOTO.shape[1] * 8 / apart  # pixels in the width of the photo

    def kept(waves):
        stripes = 128 + 100 * np.sin(2 * np.pi * waves * np.arange(PHOTO.shape[1]) / PHOTO.shape[1])
        photo = np.broadcast_to(stripes.round()[:, None], PHOTO.shape).astype(np.uint8)
        return SENSOR["resolution"](photo, landmarks, 1.0, None)[100].std() / photo[100].std()

    assert kept(row) < 0.1  # a wave in each pixel
    assert kept(row / 4) > 0.75
    tiny = PHOTO[::16, ::16]
    assert (SENSOR["resolution"](tiny, landmarks / 16, 1.0, None) == tiny).all()  # no coarser than it is


def test_versions_of_a_photo_are_chosen_by_its_name(landmarks):
    one, same, other = (
        degraded_versions(PHOTO, landmarks, name, count=3) for name in ("ada/1.jpg", "ada/1.jpg", "bob/1.jpg")
    )
    assert len(one) == 3
    assert list(one) == list(same)
    assert all((one[kind].photo == same[kind].photo).all() for kind in one)
    assert list(one) != list(other)
    kinds = ["dark glasses", "surgical mask", "illumination-right"]
    assert list(one) == kinds  # in each run the same: one that was interrupted goes on
    small = np.full((112, 112, 3), 128, np.uint8)
    many = [degraded_versions(small, CANONICAL_LANDMARKS, f"{n}") for n in range(60)]
    assert {kind for each in many for kind in each} == set(KINDS)  # all kinds alike
    noise = [each["noise"].photo.std() for each in many if "noise" in each]
    assert len(set(noise)) == len(noise) > 2  # each at a strength of its own


def test_strengths_differ_from_photo_to_photo(landmarks):
    blurred = [degrade(PHOTO, landmarks, "blur-defocus", seed).photo.std() for seed in range(4)]
    assert len(set(blurred)) == 4
    grey = np.full((112, 112, 3), 128, np.uint8)
    noise = [degrade(grey, CANONICAL_LANDMARKS, "noise", seed).photo.std() / 40 for seed in range(40)]
    assert 0.29 < min(noise) < 0.4  # from the weakest
    assert 0.9 < max(noise) < 1.01  # to full strength


def test_another_kind_is_refused(landmarks):
    with pytest.raises(ValueError, match="There is no degradation 'age': choose from blur-defocus"):
        degrade(PHOTO, landmarks, "age")
    assert not set(EVERYWHERE) & set(OCCLUDERS)
