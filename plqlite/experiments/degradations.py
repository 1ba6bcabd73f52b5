"""Degraded photos, for a development set as varied as life: focus, resolution, light, noise, pose, occluders.

What the other experiments simulate at full strength is drawn here at some strength, so that the constants of
a model are fitted on good photos and bad ones.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from plqlite.experiments.noncompliance import NON_COMPLIANCES, Simulated, simulate
from plqlite.experiments.occluders import OCCLUDERS, occlude

WEAKEST = 0.3  # of the strengths that are drawn; 1 is what an officer would reject at first sight


def degrade(photo: np.ndarray, landmarks: np.ndarray, kind: str, seed: int = 0) -> Simulated:
    """Make a photo worse in one way, at a strength from 0.3 to 1 that the seed chooses.

    Parameters
    ----------
    photo : (H, W, 3) uint8, a whole photo
    landmarks : (5, 2) in pixels of the photo, see `plqlite.faces.Face`
    kind : one of EVERYWHERE or, always at full strength, of OCCLUDERS
    seed : of strength, direction, colour, noise and place

    Returns
    -------
    Simulated: the photo, what was covered (None for EVERYWHERE), and whether the face has moved.

    Raises
    ------
    ValueError
        Another kind.

    Examples
    --------
    >>> from plqlite.faces import CANONICAL_LANDMARKS
    >>> photo = np.full((112, 112, 3), 180, np.uint8)
    >>> bool(degrade(photo, CANONICAL_LANDMARKS, "noise").photo.std() > 1)
    True
    """
    if kind in OCCLUDERS:
        return Simulated(*occlude(photo, landmarks, kind, seed), moved=False)
    if kind not in EVERYWHERE:
        raise ValueError(f"There is no degradation {kind!r}: choose from {', '.join(KINDS)}.")
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    strength = rng.uniform(WEAKEST, 1)
    if kind in NON_COMPLIANCES:
        return simulate(photo, landmarks, kind, strength, seed)
    return Simulated(SENSOR[kind](photo, landmarks, strength, rng), None, moved=False)


def degraded_versions(
    photo: np.ndarray, landmarks: np.ndarray, image: str, count: int = 2, seed: int = 0
) -> dict[str, Simulated]:
    """Make some worse versions of a photo; its name and the seed choose kinds and strengths, all kinds alike.

    Parameters
    ----------
    photo, landmarks : see `degrade`
    image : name of the photo
    count : how many, of different kinds
    seed : another one gives other versions

    Returns
    -------
    Kind -> Simulated.

    Examples
    --------
    >>> from plqlite.faces import CANONICAL_LANDMARKS
    >>> photo = np.full((112, 112, 3), 180, np.uint8)
    >>> len(degraded_versions(photo, CANONICAL_LANDMARKS, "ada/0001.jpg", count=3))
    3
    """
    rng = np.random.default_rng([seed, zlib.crc32(image.encode(errors="surrogateescape"))])
    kinds = rng.permutation(KINDS)[:count].tolist()
    return {kind: degrade(photo, landmarks, kind, int(rng.integers(2**31))) for kind in kinds}


def _low_resolution(
    photo: np.ndarray, landmarks: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Reduce the photo until the eyes are 36 to 8 pixels apart, and enlarge it again."""
    apart = 36 * (8 / 36) ** strength
    factor = min(1.0, apart / max(float(np.linalg.norm(landmarks[1] - landmarks[0])), 1.0))
    small = [max(8, round(side * factor)) for side in photo.shape[1::-1]]
    reduced = Image.fromarray(photo).resize(small, Image.Resampling.BOX)
    return np.asarray(reduced.resize(photo.shape[1::-1], Image.Resampling.BICUBIC))


def _compression(
    photo: np.ndarray, landmarks: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Save as JPEG of quality 40 to 5."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=round(40 * (5 / 40) ** strength))
    return np.asarray(Image.open(file))


def _noise(photo: np.ndarray, landmarks: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Add the noise of a dark room, with a standard deviation of up to 40 grey levels."""
    noisy = photo + rng.normal(0, 40 * strength, photo.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


SENSOR: dict[str, Callable[..., np.ndarray]] = {
    "resolution": _low_resolution,
    "compression": _compression,
    "noise": _noise,
}
EVERYWHERE = (
    *("blur-defocus", "blur-motion", "contrast-low", "pose-yaw", "pose-pitch"),
    *(f"illumination-{each}" for each in ("left", "right", "top", "bottom", "over", "under")),
    *SENSOR,
)
KINDS = (*EVERYWHERE, *OCCLUDERS)
