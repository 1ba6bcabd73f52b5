"""GrabCut (Rother, Kolmogorov & Blake 2004) with a result that depends on its arguments alone."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np


def grab_cut(image: np.ndarray, trimap: np.ndarray, iterations: int) -> np.ndarray:
    """Divide an image into foreground and background by their colours.

    GrabCut starts its clusters at random, from a generator that OpenCV keeps for each thread. It runs in a
    thread of its own here, with a seed of its own, so the caller's generator is left as it was.

    Parameters
    ----------
    image : (H, W, 3) uint8
    trimap : (H, W) uint8 of cv2.GC_BGD, GC_FGD (certain), GC_PR_BGD and GC_PR_FGD (to begin with)
    iterations : how often colours and division are fitted to each other

    Returns
    -------
    The trimap (H, W) uint8 with the probable pixels decided: GC_PR_BGD or GC_PR_FGD each.

    Examples
    --------
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[:, :4] = 200
    >>> trimap = np.full((8, 8), cv2.GC_PR_BGD, np.uint8)
    >>> trimap[:, :3] = cv2.GC_PR_FGD  # one column short
    >>> (grab_cut(image, trimap, 2) == cv2.GC_PR_FGD).sum(axis=0).tolist()
    [8, 8, 8, 8, 0, 0, 0, 0]
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_seeded_grab_cut, image, trimap, iterations).result()


def _seeded_grab_cut(image: np.ndarray, trimap: np.ndarray, iterations: int) -> np.ndarray:
    """Run GrabCut after setting the seed of this thread's generator."""
    cv2.setRNGSeed(0)
    decided, background, foreground = (
        trimap.copy(),
        np.zeros((1, 65)),
        np.zeros((1, 65)),
    )  # colours, to be fitted
    no_box = (0, 0, 0, 0)  # the trimap says where to begin
    cv2.grabCut(image, decided, no_box, background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    return decided
