import cv2
import numpy as np
import pytest

import plqlite
from plqlite.experiments.occluders import DRAWINGS, occlude
from plqlite.faces import find_faces

PHOTO = plqlite.sample_faces()["astronaut"]
LANDMARKS = find_faces(PHOTO)[0].landmarks
SOFT = ("clear glasses", "lowered glasses", "shine")  # tinted lenses and faint edges, which do not count


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_mask_is_what_has_changed(kind):
    covered, mask = occlude(PHOTO, LANDMARKS, kind, seed=0)
    changed = np.abs(covered.astype(int) - PHOTO).max(2)
    assert covered.dtype == np.uint8
    assert covered.shape == PHOTO.shape
    assert mask.shape == PHOTO.shape[:2]
    assert mask.any()
    assert (changed[mask] > 8).mean() > 0.85
    near = cv2.dilate(np.uint8(mask), np.ones((5, 5))) > 0
    if kind not in SOFT:
        assert (changed[~near] > 8).sum() < 0.05 * mask.sum()  # the straps of a mask are thin


@pytest.mark.parametrize("kind", DRAWINGS)
def test_it_moves_and_grows_with_the_face(kind):
    _, mask = occlude(PHOTO, LANDMARKS, kind, seed=3)
    moved = np.roll(PHOTO, (20, 30), axis=(0, 1))
    assert (
        occlude(moved, np.add(LANDMARKS, (30, 20)), kind, seed=3)[1][100:300]
        == np.roll(mask, (20, 30), (0, 1))[100:300]
    ).mean() > 0.999
    large = cv2.resize(PHOTO, None, fx=2, fy=2)
    grown = occlude(large, 2 * LANDMARKS + 0.5, kind, seed=3)[1]
    expected = cv2.resize(np.uint8(mask), None, fx=2, fy=2) > 0
    assert (grown & expected).sum() / (grown | expected).sum() > 0.8  # a frame is two pixels thin


@pytest.mark.slow
def test_each_covers_what_its_name_says():
    left_eye, right_eye, nose, left_mouth, right_mouth = LANDMARKS.round().astype(int)
    covers = {
        "dark glasses": ([left_eye, right_eye], [nose, left_mouth, right_mouth]),
        "surgical mask": ([left_mouth, right_mouth, nose], [left_eye, right_eye]),
        "scarf": ([left_mouth, right_mouth], [left_eye, right_eye]),
        "clear glasses": ([], [left_eye, right_eye, nose, left_mouth]),
        "blue face mask": ([left_mouth, right_mouth, nose], [left_eye, right_eye]),
        "glare": ([left_eye, right_eye], [nose, left_mouth]),
        "headscarf": ([], [left_eye, right_eye, nose, left_mouth, right_mouth]),
        "cap": ([left_eye - (0, 40)], [left_eye, right_eye, nose]),
        "beanie": ([left_eye - (0, 40)], [left_eye, right_eye, nose]),
    }
    for kind, (hidden, free) in covers.items():
        for seed in range(5):
            mask = occlude(PHOTO, LANDMARKS, kind, seed)[1]
            assert all(mask[y, x] for x, y in hidden)
            assert not any(mask[y, x] for x, y in free)
    for kind, points in (("hand", (left_mouth, right_mouth)), ("hair", (left_eye, right_eye))):
        masks = [occlude(PHOTO, LANDMARKS, kind, seed)[1] for seed in range(10)]
        hits = np.array([[mask[y, x] for x, y in points] for mask in masks])
        assert (hits.sum(1) <= 1).all()  # one side at a time
        assert hits.sum() >= 5


@pytest.mark.slow
def test_the_seed_decides():
    for kind in DRAWINGS:
        first, again, *others = (occlude(PHOTO, LANDMARKS, kind, seed)[0] for seed in (1, 1, 2, 3, 4, 5))
        assert (first == again).all()
        differ = any((first != other).any() for other in others)  # there are but four surgical masks
        assert differ is not kind.endswith("face mask")  # of one colour there is but one


def test_a_face_that_is_cut_off_or_turned_is_covered():
    for cut in (PHOTO[120:], PHOTO[:, 225:], PHOTO[:110]):
        moved = LANDMARKS - (225 * (cut.shape[1] < 300), 120 * (cut.shape[0] == 392))
        for kind in DRAWINGS:
            covered, mask = occlude(cut, moved, kind, seed=0)
            assert covered.shape == cut.shape
            assert mask.shape == cut.shape[:2]


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="no occluder 'hat': choose from square, dark glasses"):
        occlude(PHOTO, LANDMARKS, "hat", 0)


def test_opacity_fades_the_drawing_and_not_the_mask():
    half, mask = occlude(PHOTO, LANDMARKS, "cap", 0, opacity=0.5)
    whole, same = occlude(PHOTO, LANDMARKS, "cap", 0)
    assert (mask == same).all()
    between = (PHOTO.astype(float) + whole) / 2
    assert np.abs(half - between).max() <= 1
