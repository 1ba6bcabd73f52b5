"""Occluders: things in front of a face, drawn and placed by the landmarks, so their place is known exactly.

Each is drawn on a canvas around a face with ArcFace's canonical landmarks (112×112 pixels), and warped from
there onto the photo, to the size, place and tilt of the face in it. They are cartoons, not photographs.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from plqlite.faces import CANONICAL_LANDMARKS, read_image

Point = tuple[float, float]

# Below, a canonical pixel is one of the 112×112 that the canonical landmarks are given in.
FINE = 4  # pixels of the canvas for each canonical pixel
AROUND, HIGH = 40, 64  # canonical pixels around the 112×112: of most drawings, and of what sits on the head
SIDE = (112 + 2 * AROUND) * FINE


def occlude(
    photo: np.ndarray, landmarks: np.ndarray, kind: str, seed: int, opacity: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Put something in front of a face.

    Parameters
    ----------
    photo : (H, W, 3) uint8, a whole photo: align it afterwards, by the face found in the original
    landmarks : (5, 2) in pixels of the photo, see `plqlite.faces.Face`
    kind : a key of DRAWINGS
    seed : of place, colour, texture and size, as far as they vary within the kind
    opacity : 0..1, how opaque the drawing is

    Returns
    -------
    occluded photo (H, W, 3) uint8, mask (H, W) of bool: what the drawing, at full opacity,
    covers by more than half

    Raises
    ------
    ValueError
        There is no such kind.

    Examples
    --------
    >>> photo = np.full((112, 112, 3), 180, np.uint8)
    >>> covered, mask = occlude(photo, CANONICAL_LANDMARKS, "scarf", seed=0)
    >>> bool(mask[100, 56]), bool(mask[20, 56])  # the chin, and the forehead
    (True, False)
    """
    if kind not in DRAWINGS:
        raise ValueError(f"There is no occluder {kind!r}: choose from {', '.join(DRAWINGS)}.")
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    drawn = np.asarray(DRAWINGS[kind](rng, _skin(photo, landmarks)), dtype=np.float32)
    alpha = drawn[..., 3:] / 255
    layer = np.concatenate([drawn[..., :3] * alpha, alpha], axis=2)  # transparent pixels have no colour
    warp = _canvas_to_photo(len(drawn), landmarks)  # (2, 3)
    shrink = 1 / np.sqrt(abs(np.linalg.det(warp[:, :2])))
    if shrink > 1:  # a bilinear warp would skip pixels
        layer = cv2.GaussianBlur(layer, (0, 0), 0.4 * shrink)
    layer = cv2.warpAffine(layer, warp, (photo.shape[1], photo.shape[0]))  # (H, W, 4)
    covered = photo * (1 - opacity * layer[..., 3:]) + opacity * layer[..., :3]
    return covered.round().clip(0, 255).astype(np.uint8), layer[..., 3] > 0.5


def _canvas_to_photo(side: int, landmarks: np.ndarray) -> np.ndarray:
    """Return the matrix (2, 3) that takes points (x, y, 1) of a canvas to the photo."""
    to_photo, *_ = np.linalg.lstsq(np.c_[CANONICAL_LANDMARKS, np.ones(5)], landmarks, rcond=None)  # (3, 2)
    around = (side / FINE - 112) / 2
    to_canonical = np.array([[1 / FINE, 0, -around], [0, 1 / FINE, -around], [0, 0, 1]])
    return to_photo.T @ to_canonical


def _skin(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return the median colour around the tip of the nose, RGB."""
    reach = np.linalg.norm(landmarks[1] - landmarks[0]) / 4
    left, top = (landmarks[2] - reach).clip(0, np.array(photo.shape[1::-1]) - 2).astype(int)
    right, bottom = (landmarks[2] + reach).clip(2).astype(int)
    patch = photo[top : max(bottom, top + 1), left : max(right, left + 1)]
    return np.median(patch.reshape(-1, 3), axis=0)


def _at(*points: Sequence[float] | np.ndarray) -> list[Point]:
    """Turn points in canonical pixels into points of the canvas."""
    return [tuple((np.add(point, AROUND) * FINE).tolist()) for point in points]


def _textured(shape: Image.Image, texture: np.ndarray) -> Image.Image:
    """Fill a shape with a texture (side, side, 3)."""
    filled = Image.fromarray(texture.clip(0, 255).astype(np.uint8))
    filled.putalpha(shape)
    return filled


def _grain(rng: np.random.Generator, size: float, strength: float, side: int = SIDE) -> np.ndarray:
    """Draw blotches of a size, in canonical pixels, with values around 1: (side, side, 1)."""
    noise = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), size * FINE)
    return 1 + strength * (noise / noise.std())[..., None]


def _square(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a square of 30 canonical pixels in some colour."""
    canvas = Image.new("RGBA", (SIDE, SIDE))
    corner = rng.integers(8, 74, size=2)
    fill = (*rng.integers(0, 256, size=3).tolist(), 255)
    ImageDraw.Draw(canvas).rectangle(_at(corner, corner + 30), fill=fill)
    return canvas


def _glasses(rng: np.random.Generator, lens: tuple[int, int, int, int], lower: float = 0) -> Image.Image:
    """Draw two lenses, a bridge and the temples, `lower` canonical pixels further down the nose."""
    canvas = Image.new("RGBA", (SIDE, SIDE))
    draw, frame = ImageDraw.Draw(canvas), (*rng.integers(10, 60, size=3).tolist(), 255)
    half = np.array([rng.uniform(13.5, 16), rng.uniform(10, 13)])
    left, right = np.add(CANONICAL_LANDMARKS[:2], (0, lower))
    for eye in (left, right):
        box = _at(eye - half + (0, 2), eye + half + (0, 2))
        draw.rounded_rectangle(box, radius=7 * FINE, fill=lens, outline=frame, width=int(2.6 * FINE))
    wide = half[0]
    bridge = np.add(left, (wide - 1, -1)), np.add(right, (1 - wide, -1))
    temples = (np.add(left, (-wide, -3)), (-2, 44)), (np.add(right, (wide, -3)), (114, 44))
    for line in (bridge, *temples):
        draw.line(_at(*line), fill=frame, width=int(2.6 * FINE))
    return canvas


def _dark_glasses(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw sunglasses: the lenses count as covered."""
    return _glasses(rng, (18, 18, 22, 250))


def _clear_glasses(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw spectacles: only the frame counts as covered."""
    return _glasses(rng, (235, 245, 255, 30))


def _surgical_mask(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a face mask of one of the four colours."""
    return _face_mask(rng, skin, rng.choice(FACE_MASKS))


def _face_mask(rng: np.random.Generator, skin: np.ndarray, name: str) -> Image.Image:
    """Draw a mask over nose and mouth, with straps, in a texture that comes with insightface."""
    canvas = Image.new("RGBA", (SIDE, SIDE))
    straps = ((16, 68), (-6, 50)), ((20, 100), (-4, 86)), ((96, 68), (118, 50)), ((92, 100), (116, 86))
    for strap in straps:
        ImageDraw.Draw(canvas).line(_at(*strap), fill=(225, 225, 225, 255), width=int(1.5 * FINE))
    half = [(56, 121), (32, 114), (17, 95), (13, 68), (35, 64), (50, 58)]
    outline = half + [(112 - x, y) for x, y in reversed(half)]
    shape = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(shape).polygon(_at(*outline), fill=255)
    shape = shape.filter(ImageFilter.GaussianBlur(2 * FINE)).point(lambda value: 255 * (value > 127))
    shade = 1 - 0.45 * np.abs(1.6 * np.linspace(-1, 1, SIDE)[None, :, None]) ** 3  # darker at the cheeks
    canvas.alpha_composite(_textured(shape, np.asarray(_cloth(name)) * shade))
    return canvas


def _cloth(name: str) -> Image.Image:
    """Return a canvas with one of insightface's textures of face masks over nose and mouth."""
    insightface = find_spec("insightface")
    if insightface is None or not insightface.submodule_search_locations:
        raise ImportError("Face masks need a texture of insightface: run  pip install insightface")
    images = Path(insightface.submodule_search_locations[0], "data", "images")
    texture = Image.fromarray(read_image(images / f"mask_{name}.jpg"))
    width, height = texture.size
    (left, top), (right, bottom) = _at((12, 57), (100, 122))
    border = (0.03 * width, 0.04 * height, 0.97 * width, 0.96 * height)
    texture = texture.resize((int(right - left), int(bottom - top)), box=border)
    canvas = Image.new("RGB", (SIDE, SIDE))
    canvas.paste(texture, (int(left), int(top)))
    return canvas


def _hand(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw palm, four fingers and a thumb over one side of mouth and cheek, in the colour of the face."""
    side = rng.choice([-1, 1])
    x, y, tilt = 56 + side * rng.uniform(14, 24), rng.uniform(92, 104), -side * rng.uniform(5, 30)
    shape, gaps = _palm_and_fingers(x, y)
    _draw_finger(shape, (x - side * 16, y + 16), (x - side * 27, y - 10), 9)  # the thumb
    turned = {"angle": tilt, "center": _at((x, y))[0]}
    shape, gaps = shape.rotate(**turned), gaps.rotate(**turned).filter(ImageFilter.GaussianBlur(0.6 * FINE))
    rim = np.asarray(shape.filter(ImageFilter.GaussianBlur(3 * FINE)))[..., None] / 255  # round at the edges
    light = rng.uniform(0.85, 1.1) * (0.45 + 0.55 * rim) * (1 - 0.45 * np.asarray(gaps)[..., None] / 255)
    return _textured(shape, skin * light * _grain(rng, 6, 0.05))


def _palm_and_fingers(x: float, y: float) -> tuple[Image.Image, Image.Image]:
    """Draw a palm around (x, y) with four fingers, and the gaps between them, in white on black each."""
    shape, gaps = Image.new("L", (SIDE, SIDE)), Image.new("L", (SIDE, SIDE))
    palm = _at((x - 20, y - 10), (x + 20, y + 34))
    ImageDraw.Draw(shape).rounded_rectangle(palm, radius=9 * FINE, fill=255)
    for number, length in enumerate((30, 37, 39, 33)):
        root, bend = x - 15 + 10 * number, 1.2 * (number - 1.5)
        _draw_finger(shape, (root, y), (root + bend, y - length), 9.5)
        if number:
            _draw_finger(gaps, (root - 5, y - 4), (root - 5 + bend, y - 26), 0.9)
    return shape, gaps


def _draw_finger(layer: Image.Image, start: Point, end: Point, width: float) -> None:
    """Draw a line with round ends."""
    draw = ImageDraw.Draw(layer)
    draw.line(_at(start, end), fill=255, width=int(width * FINE))
    for end_x, end_y in (start, end):
        reach = width / 2
        draw.ellipse(_at((end_x - reach, end_y - reach), (end_x + reach, end_y + reach)), fill=255)


def _scarf(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a striped scarf from the nose down."""
    x = np.linspace(-AROUND, 112 + AROUND, 40)
    y = rng.uniform(66, 78) + 2.5 * np.sin(x / 13 + rng.uniform(0, 6)) - 2 * ((x - 56) / 40) ** 2
    shape = Image.new("L", (SIDE, SIDE))
    below = ((112 + AROUND, 112 + AROUND), (-AROUND, 112 + AROUND))
    ImageDraw.Draw(shape).polygon(_at(*zip(x, y, strict=True), *below), fill=255)
    colours = rng.integers(30, 230, size=(2, 3))
    v, u = np.mgrid[:SIDE, :SIDE, :1][:2] / FINE  # (SIDE, SIDE, 1) each
    stripes = np.sin((v + u / 4 + 2 * np.sin(u / 9)) / rng.uniform(3, 5)) > 0
    knitted = 1 + 0.12 * np.sin(2.6 * u) * np.sin(2.6 * v)
    folded = 1 + 0.25 * np.sin((v + 6 * np.sin(u / 25)) / 9)
    return _textured(shape, np.where(stripes, *colours) * knitted * folded * _grain(rng, 0.4, 0.06))


def _hair(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a lock of hair that falls over one eye."""
    canvas = Image.new("RGBA", (SIDE, SIDE))
    draw, side = ImageDraw.Draw(canvas), rng.choice([-1, 1])
    colour = np.array(rng.choice([(40, 26, 18), (90, 58, 30), (25, 22, 22), (150, 115, 60)]))
    t = np.linspace(0, 1, 16)
    for across in rng.uniform(size=220):
        root, tip = 34 * across - 6, 40 * across + rng.uniform(6, 10)
        y = -36 + (86 + 34 * across**0.6 + rng.uniform(-7, 7)) * t
        x = 56 + side * (root + (tip - root) * t**2 - rng.uniform(2, 5) * np.sin(np.pi * t))
        shade = (colour * rng.uniform(0.6, 1.5)).clip(0, 255).astype(int).tolist()
        width, strand = rng.uniform(0.8, 1.9) * FINE, _at(*zip(x, y, strict=True))
        for step in range(len(strand) - 1):  # thinner towards the tip
            thin = max(1, int(width * (1 - 0.12 * max(0, step - 10))))
            draw.line(strand[step : step + 2], fill=(*shade, 255), width=thin)
    return canvas


def _cap(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a baseball cap with its visor over the forehead."""
    colour = rng.integers(20, 110, size=3)
    x, y = _canonical_grid(HIGH)
    dome = ((x - 56) / 60) ** 2 + ((y - 16) / 74) ** 2 < 1
    visor = ((x - 56) / 54) ** 2 + ((y - 18) / (19 - (x - 56) ** 2 / 600)) ** 2 < 1
    across = (x - 56) / (60 * np.sqrt((1 - ((y - 16) / 74) ** 2).clip(0.05)))  # -1..1 at each height
    seams = np.exp(-(((np.abs(across) - 0.45) / 0.02) ** 2)) + np.exp(-((across / 0.02) ** 2))
    light = 1.1 - 0.6 * np.abs(across) ** 2.5 - 0.25 * seams
    bent = 0.5 + 0.5 * np.exp(-(((y - 14 + ((x - 56) / 22) ** 2) / 9) ** 2))
    shape = Image.fromarray(np.uint8(255 * (dome & (y < 20) | visor)[..., 0]))
    return _textured(shape, colour * np.where(visor, 0.85 * bent, light) * _grain(rng, 0.3, 0.04, len(x)))


def _beanie(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a knitted cap that is pulled over the forehead."""
    colour, edge = rng.integers(60, 160, size=3), rng.uniform(28, 34)
    x, y = _canonical_grid(HIGH)
    hem = edge - ((x - 56) / 12) ** 2 / 3  # lower in the middle of a round forehead
    cuff = y > hem - 18
    inside = (((x - 56) / (60 + 2.5 * cuff)) ** 2 + ((y - 12) / 72) ** 2 < 1) & (y < hem)
    around = np.arcsin(((x - 56) / 63).clip(-1, 1))  # ribs stand closer at the sides
    ribs = 1 + 0.22 * np.sin(46 * around) * np.where(cuff, 1, 0.5) + 0.06 * np.sin(2.2 * (y - hem))
    fold = 1 - 0.5 * np.exp(-(((y - hem + 18) / 2) ** 2))
    light = (0.3 + 0.7 * np.cos(around)) * ribs * fold * _grain(rng, 0.4, 0.07, len(x))
    return _textured(Image.fromarray(np.uint8(255 * inside[..., 0])), colour * light)


def _headscarf(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw a scarf around head and neck that leaves an oval of the face visible."""
    colour, high = rng.integers(70, 190, size=3), rng.uniform(20, 28)
    x, y = _canonical_grid(HIGH)
    head = ((x - 56) / 70) ** 2 + ((y - 36) / 92) ** 2 < 1
    neck = (np.abs(x - 56) < 58 + 14 * ((y - 80) / 80).clip(0)) & (y > 50) & (y < 168 - ((x - 56) / 14) ** 2)
    wide = 45 - 9 * ((y - 60) / 60).clip(0, 1)
    face = np.sqrt(((x - 56) / wide) ** 2 + ((y - 66) / np.where(y < 66, 66 - high, 50)) ** 2)
    angle = np.arctan2(y - 66, x - 56)
    wander = 6 * (_grain(rng, 14, 1, len(x)) - 1)
    folds = 1 + 0.13 * np.sin(13 * face + wander) + 0.07 * np.sin(29 * face + 5 * angle + 2 * wander)
    rim = 1 - 0.5 * np.exp(-(((face - 1) / 0.05) ** 2))  # its shadow at the edge
    shape = Image.fromarray(np.uint8(255 * ((head | neck) & (face > 1))[..., 0]))
    return _textured(shape, colour * folds * rim * _grain(rng, 0.4, 0.03, len(x)))


def _lowered_glasses(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw spectacles that have slipped down the nose: their upper rims cross the eyes."""
    return _glasses(rng, (235, 245, 255, 30), lower=8)


def _glare(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw spectacles with a window mirrored in the lenses."""
    glasses = _glasses(rng, (235, 245, 255, 30))
    x, y = _canonical_grid()
    slant = rng.uniform(-0.5, 0.5)
    bright = np.zeros((SIDE, SIDE, 1))
    for eye in CANONICAL_LANDMARKS[:2]:
        u, v = x - eye[0] - slant * (y - eye[1]) - 1, y - eye[1] - 1
        panes = (np.abs(u) < 9) & (np.abs(v) < 7.5) & (np.abs(u) > 0.5) & (np.abs(v) > 0.4)
        bright = np.maximum(bright, panes * 0.96)
    light = Image.fromarray(np.uint8(255 * bright[..., 0])).filter(ImageFilter.GaussianBlur(0.5 * FINE))
    glasses.alpha_composite(_textured(light, np.full((SIDE, SIDE, 3), 252.0)))
    return glasses


def _shine(rng: np.random.Generator, skin: np.ndarray) -> Image.Image:
    """Draw what a flash does to moist skin: bright spots on forehead, nose, cheeks and chin."""
    x, y = _canonical_grid()
    spots = (
        (48, 25, 15, 6),
        (70, 24, 9, 5),
        (57, 62, 3, 10),
        (25, 68, 7, 5),
        (86, 68, 7, 5),
        (56, 109, 7, 3),
    )
    dx, dy = rng.uniform(-3, 3, size=2)
    far = [((x - a - dx) / c) ** 2 + ((y - b - dy) / d) ** 2 for a, b, c, d in spots]
    alpha = np.exp(-np.minimum.reduce(far) * _grain(rng, 2, 0.2).clip(0.3))
    shape = Image.fromarray(np.uint8(235 * alpha[..., 0]))
    return _textured(shape, np.broadcast_to((255.0, 250.0, 240.0), (SIDE, SIDE, 3)))


def _canonical_grid(around: int = AROUND) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a canvas in canonical pixels: (side, side, 1) each."""
    side = (112 + 2 * around) * FINE
    y, x = np.mgrid[:side, :side, :1][:2] / FINE - around
    return x, y


FACE_MASKS = ("black", "blue", "green", "white")  # insightface's textures
Drawing = Callable[[np.random.Generator, np.ndarray], Image.Image]

OCCLUDERS: dict[str, Drawing] = {
    "square": _square,
    "dark glasses": _dark_glasses,
    "clear glasses": _clear_glasses,
    "surgical mask": _surgical_mask,
    "hand": _hand,
    "scarf": _scarf,
    "hair": _hair,
}
DRAWINGS: dict[str, Drawing] = OCCLUDERS | {
    "cap": _cap,
    "beanie": _beanie,
    "headscarf": _headscarf,
    "lowered glasses": _lowered_glasses,
    "glare": _glare,
    "shine": _shine,
    **{f"{name} face mask": partial(_face_mask, name=name) for name in FACE_MASKS},
}
