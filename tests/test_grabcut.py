import cv2
import numpy as np
import pytest

from plqlite.experiments.grabcut import grab_cut


@pytest.fixture
def scene():
    """A noisy square of one colour on another, and a trimap that knows only its middle."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (60, 60, 3), np.uint8)
    image[15:45, 15:45] += 150
    trimap = np.full((60, 60), cv2.GC_PR_BGD, np.uint8)
    trimap[20:40, 20:40] = cv2.GC_PR_FGD
    trimap[:5] = cv2.GC_BGD
    return image, trimap


def drawn():
    """The next numbers of OpenCV's generator."""
    return cv2.randu(np.zeros((1, 8)), 0, 1).tolist()


def test_the_edges_are_found(scene):
    image, trimap = scene
    before = trimap.copy()
    found = grab_cut(image, trimap, 5)
    expected = np.zeros((60, 60), bool)
    expected[15:45, 15:45] = True
    assert ((found == cv2.GC_PR_FGD) == expected).mean() > 0.99
    assert (found[:5] == cv2.GC_BGD).all()  # what is certain stays
    assert (trimap == before).all()


def test_the_caller_s_generator_is_left_as_it_was(scene):
    cv2.setRNGSeed(7)
    expected = drawn() + drawn()
    cv2.setRNGSeed(7)
    first = drawn()
    grab_cut(*scene, 5)
    assert first + drawn() == expected


def test_the_result_does_not_depend_on_the_caller_s_generator(scene):
    found = []
    for seed in (1, 2, 3):
        cv2.setRNGSeed(seed)
        found.append(grab_cut(*scene, 1))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
