"""Non-compliance with ICAO 9303, the rules for passport photos, simulated on a photo (Fig. 8).

Twelve kinds in 33 variants, from one photo and five landmarks. They are simulations: light is a gradient, not
a lamp; a turned head shows nothing that the photo did not show; caps and masks are drawn. To try the real
thing see data_scripts/check_own_photos.py.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from plqlite.experiments.grabcut import grab_cut
from plqlite.experiments.occluders import FACE_MASKS, occlude
from plqlite.faces import CANONICAL_LANDMARKS, Photo, read_image


class Simulated(NamedTuple):
    """A photo that is not compliant."""

    photo: np.ndarray  # (H, W, 3) uint8
    mask: np.ndarray | None  # (H, W) of bool, what was changed; None if that is everything
    moved: bool  # whether the face is elsewhere now, and must be found again


class Scene(NamedTuple):
    """What an effect starts from."""

    photo: np.ndarray  # (H, W, 3) uint8
    landmarks: np.ndarray  # (5, 2)
    strength: float  # 0..1
    rng: np.random.Generator


Effect = Callable[[Scene], np.ndarray | tuple[np.ndarray, np.ndarray]]  # photo, or photo and mask


class NonCompliance(NamedTuple):
    """One way in which a photo does not comply with ICAO 9303."""

    kind: str
    variant: str
    measure: str  # the measure of ISO/IEC 29794-5 that it lowers, as OFIQ spells it
    effect: Effect

    @property
    def name(self) -> str:
        """Kind and variant as a file name."""
        return f"{self.kind}-{self.variant}".replace(" ", "-")


def simulate(
    photo: Photo, landmarks: np.ndarray, name: str, strength: float = 1.0, seed: int = 0
) -> Simulated:
    """Make a photo non-compliant with ICAO 9303 in one way.

    Parameters
    ----------
    photo : (H, W, 3) uint8, a whole photo or an aligned one; or whatever else `read_image` takes
    landmarks : (5, 2) in pixels of the photo, see `plqlite.faces.Face`
    name : a key of NON_COMPLIANCES
    strength : 0..1; 0 leaves the photo as it is, 1 is what an officer would reject at first sight
    seed : of colour, direction and the like, as far as they vary within the variant

    Returns
    -------
    Simulated

    Raises
    ------
    ValueError
        Another name, or a strength outside 0..1.

    Examples
    --------
    >>> photo = np.full((112, 112, 3), 180, np.uint8)
    >>> simulated = simulate(photo, CANONICAL_LANDMARKS, "glasses-dark")
    >>> bool(simulated.mask[52, 38])  # the left eye
    True
    """
    if name not in NON_COMPLIANCES:
        raise ValueError(f"There is no non-compliance {name!r}: choose from {', '.join(NON_COMPLIANCES)}.")
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength is {strength}: choose 0 to 1.")
    kind, variant, _, effect = NON_COMPLIANCES[name]
    photo = read_image(photo)
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind}-{variant}".encode())])
    result = effect(Scene(photo, np.asarray(landmarks, dtype=float), strength, rng))
    changed, mask = result if isinstance(result, tuple) else (result, None)
    if strength == 0 and mask is not None:
        mask = np.zeros_like(mask)
    changed = np.round(np.clip(changed, 0, 255)).astype(np.uint8)
    return Simulated(changed, mask, moved=kind in ("pose", "distortion"))


def _grid(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of each pixel of the photo in canonical pixels: (H, W) each.

    These are the 112×112 pixels that the canonical landmarks are given in.
    """
    height, width = scene.photo.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    points = np.stack([x, y, np.ones_like(x)], axis=-1) @ _to_canonical(scene)  # (H, W, 2)
    return points[..., 0], points[..., 1]


def _to_canonical(scene: Scene) -> np.ndarray:
    """Return the matrix (3, 2) that takes points (x, y, 1) of the photo to canonical pixels."""
    return np.linalg.lstsq(np.c_[scene.landmarks, np.ones(5)], CANONICAL_LANDMARKS, rcond=None)[0]


def _scale(scene: Scene) -> float:
    """Return how many pixels of the photo one canonical pixel is wide."""
    return float(1 / np.sqrt(abs(np.linalg.det(_to_canonical(scene)[:2]))))


def _move(scene: Scene, dx: np.ndarray | float, dy: np.ndarray | float) -> np.ndarray:
    """Take each pixel from (dx, dy) canonical pixels away; outside the photo, its border is repeated."""
    height, width = scene.photo.shape[:2]
    shift = np.stack(np.broadcast_arrays(dx, dy, np.zeros((height, width)))[:2], axis=-1)  # (H, W, 2)
    shift = shift @ np.linalg.inv(_to_canonical(scene)[:2])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    from_x, from_y = (x + shift[..., 0]).astype(np.float32), (y + shift[..., 1]).astype(np.float32)
    return cv2.remap(scene.photo, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _fade(t: np.ndarray) -> np.ndarray:
    """Fall smoothly from 1 at t = 0 to 0 at t = 1."""
    t = np.clip(t, 0, 1)
    return 1 - t * t * (3 - 2 * t)


def _worn(scene: Scene, drawing: str) -> tuple[np.ndarray, np.ndarray]:
    """Add something worn, or a reflection; strength is opacity."""
    return occlude(scene.photo, scene.landmarks, drawing, int(scene.rng.integers(2**31)), scene.strength)


def _cast(scene: Scene) -> np.ndarray:
    """Tint the light orange, blue or green."""
    gains = np.array([[1.0, 0.78, 0.5], [0.6, 0.85, 1.0], [0.7, 1.0, 0.7]])
    return scene.photo * scene.rng.choice(gains) ** scene.strength


def _saturation(scene: Scene, factor: float) -> np.ndarray:
    """Remove colours (factor 0) or exaggerate them."""
    image = torch.from_numpy(scene.photo).permute(2, 0, 1)
    return transforms.adjust_saturation(image, 1 + scene.strength * (factor - 1)).permute(1, 2, 0).numpy()


def _low_contrast(scene: Scene) -> np.ndarray:
    """Move all pixels towards their mean."""
    image = torch.from_numpy(scene.photo).permute(2, 0, 1)
    return transforms.adjust_contrast(image, 1 - 0.7 * scene.strength).permute(1, 2, 0).numpy()


def _side_light(scene: Scene, x: int = 0, y: int = 0) -> np.ndarray:
    """Light the face from where x or y is −1 or 1: too bright there, dark on the other side."""
    across, down = _grid(scene)
    slope = (across - 56) / 48 * x + (down - 66) / 56 * y  # −1..1 over the face
    return _exposure(scene, 3.5 * slope.clip(-1, 1) - 1.3)


def _exposure(scene: Scene, stops: np.ndarray | float) -> np.ndarray:
    """Change the light by some stops, as on the sensor: before the gamma of 2.2."""
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
    """Turn the head to one side (axis 0) or down (1), as if it were half an ellipsoid with a nose."""
    angle = np.deg2rad(degrees * scene.strength)
    x, y = _grid(scene)
    along, shift = (x - 56, y - 60)[axis], np.zeros_like(x)
    for _ in range(12):  # a pixel moves by the depth at its source, which depends on the move
        u, v = (x + shift, y) if axis == 0 else (x, y + shift)
        far = ((u - 56) / 62) ** 2 + ((v - 52) / 84) ** 2  # 1 at the outline of the head
        nose = 14 * np.exp(-(((u - 56) / 9) ** 2) - ((v - 74) / 13) ** 2)
        depth = 46 * np.sqrt((1 - far).clip(0)) + nose - 10  # 0 at the axis
        turned = along * (1 / np.cos(angle) - 1) - depth * np.tan(angle)
        shift = (shift + turned * _fade((np.sqrt(far) - 0.8) / 0.9)) / 2  # nothing moves outside the head
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
    hole = ((below > 0) & (below < gap)).astype(np.float32)
    hole = cv2.GaussianBlur(hole, (0, 0), 0.7 * _scale(scene))[..., None]
    depth = (below / np.maximum(gap, 1)).clip(0, 1)[..., None]  # the tongue is brighter than the throat
    inside = np.array([52, 16, 18]) * (0.5 + 0.8 * depth)
    return _move(scene, 0, dy) * (1 - hole) + inside * hole, (np.abs(dy) > 1) | (hole[..., 0] > 0.1)


def _grimace(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pull the corners of the mouth, the nose and the brows, each side in another direction."""
    x, y = _grid(scene)
    dx, dy = np.zeros_like(x), np.zeros_like(x)
    pulls = (  # where, how far, and how wide
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
    """Squeeze the openings of the eyes to a line, with the lids stretched over them."""
    x, y = _grid(scene)
    dy = np.zeros_like(y)
    for eye_x, eye_y in CANONICAL_LANDMARKS[:2]:
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
    soft = cv2.GaussianBlur(behind.astype(np.float32), (0, 0), 0.8 * _scale(scene))[..., None]
    soft = soft * scene.strength
    return scene.photo * (1 - soft) + shelf * soft, behind


def _person(scene: Scene) -> np.ndarray:
    """Find head and shoulders, with GrabCut around the landmarks: (H, W) of bool."""
    shrink = max(1, _scale(scene))  # to canonical pixels: a large photo would take minutes
    height, width = scene.photo.shape[:2]
    size = round(width / shrink), round(height / shrink)
    photo = cv2.resize(scene.photo, size, interpolation=cv2.INTER_AREA)
    trimap = _person_trimap(scene._replace(photo=photo, landmarks=scene.landmarks / shrink))
    if np.isin((cv2.GC_BGD, cv2.GC_PR_BGD), trimap).any():  # a tight crop may show no background
        trimap = grab_cut(photo, trimap, iterations=3)
    person = np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _person_trimap(scene: Scene) -> np.ndarray:
    """Mark where person and background can be expected, for GrabCut: (H, W) of uint8."""
    x, y = _grid(scene)
    away = np.abs(x - 56)
    face = ((x - 56) / 44) ** 2 + ((y - 62) / 60) ** 2 < 1
    head = ((x - 56) / 78) ** 2 + ((y - 40) / 95) ** 2 < 1
    shoulders = (y > 105) & (away < 40 + 1.2 * (y - 100))
    trimap = np.where(head | shoulders, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[(y < 90) & (away > 100)] = cv2.GC_BGD
    trimap[face | ((away < 34) & (y > 60))] = cv2.GC_FGD
    return trimap


# OFIQ, the reference implementation of ISO/IEC 29794-5, computes each measure under this name, with one
# exception: the standard mentions radial distortion but has no algorithm for it, so there is no OFIQ measure,
# and the name RadialDistortionPrevention is ours. In three cases the measure is the nearest that there is:
# IlluminationUniformity compares the left side of the face with the right one, so it hardly notices light
# from the top or the bottom; and of shine on the skin OFIQ can only notice that the spots are overexposed.
NON_COMPLIANCES: dict[str, NonCompliance] = {
    each.name: each
    for each in (
        NonCompliance("headgear", "cap", "NoHeadCoverings", partial(_worn, drawing="cap")),
        NonCompliance("headgear", "beanie", "NoHeadCoverings", partial(_worn, drawing="beanie")),
        NonCompliance("headgear", "headscarf", "NoHeadCoverings", partial(_worn, drawing="headscarf")),
        NonCompliance("colour", "cast", "NaturalColour", _cast),
        NonCompliance("colour", "grey", "NaturalColour", partial(_saturation, factor=0)),
        NonCompliance("colour", "saturated", "NaturalColour", partial(_saturation, factor=3)),
        NonCompliance("illumination", "left", "IlluminationUniformity", partial(_side_light, x=-1)),
        NonCompliance("illumination", "right", "IlluminationUniformity", partial(_side_light, x=1)),
        NonCompliance("illumination", "top", "IlluminationUniformity", partial(_side_light, y=-1)),
        NonCompliance("illumination", "bottom", "IlluminationUniformity", partial(_side_light, y=1)),
        NonCompliance("illumination", "over", "OverExposurePrevention", partial(_exposure, stops=2.2)),
        NonCompliance("illumination", "under", "UnderExposurePrevention", partial(_exposure, stops=-3.5)),
        NonCompliance("blur", "defocus", "Sharpness", _defocus),
        NonCompliance("blur", "motion", "Sharpness", _motion),
        NonCompliance("glasses", "clear", "EyesVisible", partial(_worn, drawing="clear glasses")),
        NonCompliance("glasses", "dark", "EyesVisible", partial(_worn, drawing="dark glasses")),
        NonCompliance("glasses", "lowered", "EyesVisible", partial(_worn, drawing="lowered glasses")),
        NonCompliance("contrast", "low", "DynamicRange", _low_contrast),
        NonCompliance("reflection", "skin", "OverExposurePrevention", partial(_worn, drawing="shine")),
        NonCompliance("reflection", "glasses", "EyesVisible", partial(_worn, drawing="glare")),
        *(
            NonCompliance(
                "face mask", colour, "MouthOcclusionPrevention", partial(_worn, drawing=f"{colour} face mask")
            )
            for colour in FACE_MASKS
        ),
        NonCompliance("pose", "yaw", "HeadPoseYaw", partial(_turn, degrees=30, axis=0)),
        NonCompliance("pose", "pitch", "HeadPosePitch", partial(_turn, degrees=24, axis=1)),
        NonCompliance("pose", "roll", "HeadPoseRoll", _roll),
        NonCompliance("expression", "open mouth", "MouthClosed", _open_mouth),
        NonCompliance("expression", "grimace", "ExpressionNeutrality", _grimace),
        NonCompliance("expression", "closed eyes", "EyesOpen", _closed_eyes),
        NonCompliance("distortion", "barrel", "RadialDistortionPrevention", partial(_lens, bend=0.3)),
        NonCompliance("distortion", "pincushion", "RadialDistortionPrevention", partial(_lens, bend=-0.22)),
        NonCompliance("background", "busy", "BackgroundUniformity", _background),
    )
}
