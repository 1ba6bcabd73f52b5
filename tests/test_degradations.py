"""Degraded photos: worse in the way that is said, chosen by a seed."""

import numpy as np
import pytest

import plqlite
from plqlite.experiments.degradations import EVERYWHERE, KINDS, SENSOR, degrade, degraded_versions
from plqlite.experiments.occluders import OCCLUDERS
from plqlite.faces import largest_face

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


def test_resolution_is_that_of_the_face(landmarks):
    """At full strength the eyes are 8 pixels apart, in a large photo as in a small one."""
    apart = np.linalg.norm(landmarks[1] - landmarks[0])
    coarse = SENSOR["resolution"](PHOTO, landmarks, 1.0, None).astype(float)
    spectrum = np.abs(np.fft.rfft(coarse[..., 1] - coarse[..., 1].mean(), axis=1)).mean(0)
    highest = int(PHOTO.shape[1] * 8 / apart / 2)  # waves in the width of the photo, at two pixels each
    assert spectrum[2 * highest :].max() < 0.1 * spectrum[1:highest].max()
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
    drawn = [kind for n in range(60) for kind in np.random.default_rng([0, n]).permutation(KINDS)[:2]]
    assert set(drawn) == set(KINDS)  # all kinds alike


def test_strengths_differ_from_photo_to_photo(landmarks):
    blurred = [degrade(PHOTO, landmarks, "blur-defocus", seed).photo.std() for seed in range(4)]
    assert len(set(blurred)) == 4


def test_another_kind_is_refused(landmarks):
    with pytest.raises(ValueError, match="There is no degradation 'age': choose from blur-defocus"):
        degrade(PHOTO, landmarks, "age")
    assert not set(EVERYWHERE) & set(OCCLUDERS)
