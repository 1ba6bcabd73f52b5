"""What the rules for passport photos forbid (ICAO 9303), done to a photo: twelve kinds, 33 variants (Fig. 8).

Simulated, from one photo and five landmarks. Light is a slope, not a lamp; a turned head shows nothing that
the photo did not show; caps and masks are drawn. For the real thing see data_scripts/check_own_photos.py.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from plqlite.faces import ARCFACE_TEMPLATE, read_image
from plqlite.occluders import FACE_MASKS, occlude


class Violation(NamedTuple):
    """A photo that breaks a rule."""

    photo: np.ndarray  # (H, W, 3) uint8
    mask: np.ndarray | None  # (H, W) of bool, what was touched; None if that is everything
    moved: bool  # whether the face lies elsewhere now, and must be found again


class Scene(NamedTuple):
    """What a violation starts from."""

    photo: np.ndarray  # (H, W, 3) uint8
    landmarks: np.ndarray  # (5, 2)
    strength: float  # 0..1
    rng: np.random.Generator


Effect = Callable[[Scene], np.ndarray | tuple[np.ndarray, np.ndarray]]  # photo, or photo and mask


def violate(
    photo: np.ndarray, landmarks: np.ndarray, kind: str, variant: str, strength: float = 1.0, seed: int = 0
) -> Violation:
    """Break a rule for passport photos.

    Parameters
    ----------
    photo : (H, W, 3) uint8, a whole photo or an aligned one; or what `read_image` takes
    landmarks : (5, 2) in pixels of the photo, see `plqlite.faces.Face`
    kind, variant : keys of VIOLATIONS
    strength : 0..1; 0 leaves the photo as it is, 1 is what an officer would refuse at first sight
    seed : chooses colour, direction and the like, as far as the variant has a choice

    Returns
    -------
    Violation

    Raises
    ------
    ValueError
        Another kind or variant, or a strength outside 0..1.

    Examples
    --------
    >>> face = find_faces(photo)[0]
    >>> violate(photo, face.landmarks, "glasses", "dark").mask.any()
    True
    """
    if variant not in VIOLATIONS.get(kind, {}):
        choices = ", ".join(f"{kind} ({', '.join(variants)})" for kind, variants in VIOLATIONS.items())
        raise ValueError(f"There is no {kind!r} of variant {variant!r}: choose from {choices}.")
    if not 0 <= strength <= 1:
        raise ValueError(f"A strength of {strength}: choose 0 to 1.")
    photo = read_image(photo)
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind}-{variant}".encode())])
    done = VIOLATIONS[kind][variant](Scene(photo, np.asarray(landmarks, dtype=float), strength, rng))
    broken, mask = done if isinstance(done, tuple) else (done, None)
    if strength == 0 and mask is not None:
        mask = np.zeros_like(mask)
    return Violation(np.uint8(np.round(np.clip(broken, 0, 255))), mask, kind in ("pose", "distortion"))


def slots() -> dict[str, tuple[str, str]]:
    """Return the name of each variant, as its file is called, with its kind and variant.

    Examples
    --------
    >>> slots()["glasses-dark"]
    ('glasses', 'dark')
    """
    names = [(kind, variant) for kind, variants in VIOLATIONS.items() for variant in variants]
    return {"-".join(name).replace(" ", "-"): name for name in names}


def _grid(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of each pixel of the photo in ArcFace's template: (H, W) each."""
    height, width = scene.photo.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    points = np.stack([x, y, np.ones_like(x)], axis=-1) @ _to_template(scene)  # (H, W, 2)
    return points[..., 0], points[..., 1]


def _to_template(scene: Scene) -> np.ndarray:
    """Return the matrix (3, 2) that carries points (x, y, 1) of the photo into ArcFace's template."""
    return np.linalg.lstsq(np.c_[scene.landmarks, np.ones(5)], ARCFACE_TEMPLATE, rcond=None)[0]


def _scale(scene: Scene) -> float:
    """Return how many pixels of the photo one pixel of the template has."""
    return float(1 / np.sqrt(abs(np.linalg.det(_to_template(scene)[:2]))))


def _move(scene: Scene, dx: np.ndarray | float, dy: np.ndarray | float) -> np.ndarray:
    """Take each pixel from (dx, dy) pixels of the template away; what lies outside repeats the border."""
    height, width = scene.photo.shape[:2]
    shift = np.stack(np.broadcast_arrays(dx, dy, np.zeros((height, width)))[:2], axis=-1)  # (H, W, 2)
    shift = shift @ np.linalg.inv(_to_template(scene)[:2])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    source = np.float32(x + shift[..., 0]), np.float32(y + shift[..., 1])
    return cv2.remap(scene.photo, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _fade(t: np.ndarray) -> np.ndarray:
    """Fall smoothly from 1 at t = 0 to 0 at t = 1."""
    t = np.clip(t, 0, 1)
    return 1 - t * t * (3 - 2 * t)


def _worn(scene: Scene, drawing: str) -> tuple[np.ndarray, np.ndarray]:
    """Put on what can be worn, or a reflection; strength is opacity."""
    return occlude(scene.photo, scene.landmarks, drawing, int(scene.rng.integers(2**31)), scene.strength)


def _cast(scene: Scene) -> np.ndarray:
    """Tint the light orange, blue or green."""
    gains = np.array([[1.0, 0.78, 0.5], [0.6, 0.85, 1.0], [0.7, 1.0, 0.7]])
    return scene.photo * scene.rng.choice(gains) ** scene.strength


def _saturation(scene: Scene, factor: float) -> np.ndarray:
    """Take colours away (factor 0) or exaggerate them."""
    image = torch.from_numpy(scene.photo).permute(2, 0, 1)
    return transforms.adjust_saturation(image, 1 + scene.strength * (factor - 1)).permute(1, 2, 0).numpy()


def _low_contrast(scene: Scene) -> np.ndarray:
    """Draw all pixels towards their mean."""
    image = torch.from_numpy(scene.photo).permute(2, 0, 1)
    return transforms.adjust_contrast(image, 1 - 0.7 * scene.strength).permute(1, 2, 0).numpy()


def _side_light(scene: Scene, towards: tuple[int, int]) -> np.ndarray:
    """Light the face from one side: too bright there, dark at the other."""
    x, y = _grid(scene)
    slope = (x - 56) / 48 * towards[0] + (y - 66) / 56 * towards[1]  # −1..1 over the face
    return _exposure(scene, 3.5 * slope.clip(-1, 1) - 1.3)


def _exposure(scene: Scene, stops: np.ndarray | float) -> np.ndarray:
    """Change the light by some stops, as it falls on the sensor: before the gamma of 2.2."""
    light = (scene.photo / 255) ** 2.2 * 2.0 ** np.atleast_3d(scene.strength * np.asarray(stops))
    return 255 * light.clip(0, 1) ** (1 / 2.2)


def _defocus(scene: Scene) -> np.ndarray:
    """Blur in all directions."""
    width = 2.2 * scene.strength * _scale(scene)
    return cv2.GaussianBlur(scene.photo, (0, 0), width) if width > 0 else scene.photo


def _motion(scene: Scene) -> np.ndarray:
    """Blur along a line, as a moving camera does."""
    half = 5.5 * scene.strength * _scale(scene)
    reach, angle = int(np.ceil(half)) + 1, scene.rng.uniform(0, np.pi)
    end = half * np.array([np.cos(angle), np.sin(angle)])
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    first, last = ((reach + sign * end).round().astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, first, last, 1.0)
    return cv2.filter2D(scene.photo, -1, kernel / kernel.sum())


def _turn(scene: Scene, degrees: float, axis: int) -> np.ndarray:
    """Turn the head aside (axis 0) or down (1), as if it were half an ellipsoid with a nose."""
    angle = np.deg2rad(degrees * scene.strength)
    x, y = _grid(scene)
    along, shift = (x - 56, y - 60)[axis], np.zeros_like(x)
    for _ in range(12):  # the depth counts where a pixel comes from, which it decides itself
        u, v = (x + shift, y) if axis == 0 else (x, y + shift)
        far = ((u - 56) / 62) ** 2 + ((v - 52) / 84) ** 2  # 1 at the outline of the head
        nose = 14 * np.exp(-(((u - 56) / 9) ** 2) - ((v - 74) / 13) ** 2)
        depth = 46 * np.sqrt((1 - far).clip(0)) + nose - 10  # 0 at the axis
        turned = along * (1 / np.cos(angle) - 1) - depth * np.tan(angle)
        shift = (shift + turned * _fade((np.sqrt(far) - 0.8) / 0.9)) / 2  # outside the head, nothing moves
    return _move(scene, *((shift, 0) if axis == 0 else (0, shift)))


def _roll(scene: Scene) -> np.ndarray:
    """Tilt the photo."""
    angle = 28 * scene.strength * scene.rng.choice([-1, 1])
    turn = cv2.getRotationMatrix2D(tuple(scene.landmarks.mean(0)), angle, 1)
    return cv2.warpAffine(scene.photo, turn, scene.photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def _lens(scene: Scene, bend: float) -> np.ndarray:
    """Bend straight lines outwards (a barrel) or inwards (a pincushion), around the face."""
    x, y = _grid(scene)
    far = ((x - 56) ** 2 + (y - 60) ** 2) / 64**2
    stretch = scene.strength * bend * (far / (1 + far / 4) - 0.5)
    return _move(scene, (x - 56) * stretch, (y - 60) * stretch)


def _open_mouth(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Move lower lip and chin down, and darken the gap."""
    x, y = _grid(scene)
    below = y - 94  # the lips meet here
    lips = np.sqrt((1 - ((x - 56) / 19) ** 2).clip(0))  # 1 in their middle, 0 at the corners
    drop = 20 * scene.strength * np.exp(-(((x - 56) / 34) ** 4)) * _fade((below - 45) / 40)
    torn, stretched = np.minimum(below.clip(0), drop), drop * _fade((40 - below) / 60)
    dy = -(lips * torn + (1 - lips) * stretched)
    gap = 20 * scene.strength * lips
    hole = np.float32((below > 0) & (below < gap))
    hole = cv2.GaussianBlur(hole, (0, 0), 0.7 * _scale(scene))[..., None]
    depth = (below / np.maximum(gap, 1)).clip(0, 1)[..., None]  # the tongue is brighter than the throat
    inside = np.array([52, 16, 18]) * (0.5 + 0.8 * depth)
    return _move(scene, 0, dy) * (1 - hole) + inside * hole, (np.abs(dy) > 1) | (hole[..., 0] > 0.1)


def _grimace(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pull the corners of the mouth, the nose and the brows, each side another way."""
    x, y = _grid(scene)
    dx, dy = np.zeros_like(x), np.zeros_like(x)
    pulls = (  # where, how far, and how wide around
        ((38, 92), (-7, 7), (14, 12)),
        ((74, 92), (8, -8), (14, 12)),
        ((56, 74), (4, -4), (14, 9)),
        ((40, 40), (4, 5), (16, 9)),
        ((72, 38), (-2, -6), (16, 9)),
    )
    for at, by, wide in pulls:
        near = np.exp(-(((x - at[0]) / wide[0]) ** 2) - ((y - at[1]) / wide[1]) ** 2)
        dx, dy = dx - scene.strength * by[0] * near, dy - scene.strength * by[1] * near
    return _move(scene, dx, dy), np.hypot(dx, dy) > 1


def _closed_eyes(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Squeeze the openings of the eyes to a line; the lids stretch over them."""
    x, y = _grid(scene)
    dy = np.zeros_like(y)
    for eye_x, eye_y in ARCFACE_TEMPLATE[:2]:
        half = 5.5 * scene.strength * np.sqrt((1 - ((x - eye_x) / 13.5) ** 2).clip(0))
        from_line = y - eye_y - 2.5
        squeezed = (1 - np.exp(-np.abs(from_line) / 0.7)) * (1 - np.abs(from_line) / 16).clip(0) ** 2
        dy += np.sign(from_line) * half * squeezed
    return _move(scene, 0, dy), np.abs(dy) > 1


def _background(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Put a shelf of many colours behind the person."""
    behind = ~_person(scene)
    x, y = _grid(scene)
    colours = scene.rng.integers(0, 256, size=(9, 3))
    shelf = colours[((x // 26) * 2 + (y // 34) * 3).astype(int) % 9]  # (H, W, 3)
    shelf = shelf * (0.75 + 0.25 * np.sin(x / 3)[..., None])
    soft = cv2.GaussianBlur(np.float32(behind), (0, 0), 0.8 * _scale(scene))[..., None] * scene.strength
    return scene.photo * (1 - soft) + shelf * soft, behind


def _person(scene: Scene) -> np.ndarray:
    """Find head and shoulders, with GrabCut around the landmarks: (H, W) of bool."""
    shrink = max(1, _scale(scene))  # to the template's resolution: a large photo would take minutes
    height, width = scene.photo.shape[:2]
    size = round(width / shrink), round(height / shrink)
    small = Scene(
        cv2.resize(scene.photo, size, interpolation=cv2.INTER_AREA), scene.landmarks / shrink, 1, None
    )
    x, y = _grid(small)
    away = np.abs(x - 56)
    face = ((x - 56) / 44) ** 2 + ((y - 62) / 60) ** 2 < 1
    head = ((x - 56) / 78) ** 2 + ((y - 40) / 95) ** 2 < 1
    shoulders = (y > 105) & (away < 40 + 1.2 * (y - 100))
    trimap = np.where(head | shoulders, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[(y < 90) & (away > 100)] = cv2.GC_BGD
    trimap[face | ((away < 34) & (y > 60))] = cv2.GC_FGD
    if np.isin((cv2.GC_BGD, cv2.GC_PR_BGD), trimap).any():  # a tight crop may show no background
        cv2.setRNGSeed(0)  # its clusters start at random
        cv2.grabCut(small.photo, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    person = np.float32(np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)))
    return cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


VIOLATIONS: dict[str, dict[str, Effect]] = {
    "headgear": {name: partial(_worn, drawing=name) for name in ("cap", "beanie", "headscarf")},
    "colour": {
        "cast": _cast,
        "grey": partial(_saturation, factor=0),
        "saturated": partial(_saturation, factor=3),
    },
    "illumination": {
        "left": partial(_side_light, towards=(-1, 0)),
        "right": partial(_side_light, towards=(1, 0)),
        "top": partial(_side_light, towards=(0, -1)),
        "bottom": partial(_side_light, towards=(0, 1)),
        "over": partial(_exposure, stops=2.2),
        "under": partial(_exposure, stops=-3.5),
    },
    "blur": {"defocus": _defocus, "motion": _motion},
    "glasses": {name: partial(_worn, drawing=f"{name} glasses") for name in ("clear", "dark", "lowered")},
    "contrast": {"low": _low_contrast},
    "reflection": {
        "skin": partial(_worn, drawing="shine"),
        "glasses": partial(_worn, drawing="glare"),
    },
    "face mask": {name: partial(_worn, drawing=f"{name} face mask") for name in FACE_MASKS},
    "pose": {
        "yaw": partial(_turn, degrees=30, axis=0),
        "pitch": partial(_turn, degrees=24, axis=1),
        "roll": _roll,
    },
    "expression": {"open mouth": _open_mouth, "grimace": _grimace, "closed eyes": _closed_eyes},
    "distortion": {"barrel": partial(_lens, bend=0.3), "pincushion": partial(_lens, bend=-0.22)},
    "background": {"busy": _background},
}
