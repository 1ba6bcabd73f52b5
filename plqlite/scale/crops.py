"""From a file to aligned faces: what worker processes do. Whatever goes wrong becomes a row that says so."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from plqlite.faces import Face, read_image, require_faces
from plqlite.scale.inputs import Item


class Options(NamedTuple):
    """How faces are taken from photos."""

    align: Callable  # (photo, face, size) -> crop, see `plqlite.faces.Alignment`
    size: int
    every: bool = False  # each face instead of the largest
    smallest: float = 0  # width of the smallest face that counts, in pixels of the photo
    aligned: bool = False  # files are crops already


class Prepared(NamedTuple):
    """What was found in one file: faces, or an error."""

    item: Item
    crops: np.ndarray  # (n, size, size, 3) uint8
    faces: list[Face | None]  # where they were; None for a crop
    error: str | None


def prepare(item: Item, options: Options) -> Prepared:
    """Read a file, find its faces and align them; an error is returned, not raised.

    Examples
    --------
    >>> from plqlite.faces import align_arcface
    >>> prepare(Item("/dev/null", "null", None), Options(align_arcface, 112)).error
    'OSError: /dev/null is a pipe or a device: give the path of a file.'
    """
    try:
        crops, faces = _crops_of(item.path, options)
    except Exception as error:  # a stranger's file may have Pillow or the detector raise anything
        nothing = np.zeros((0, options.size, options.size, 3), np.uint8)
        return Prepared(item, nothing, [], f"{type(error).__name__}: {error}")
    return Prepared(item, np.stack(crops), faces, None)


def _crops_of(path: str, options: Options) -> tuple[list[np.ndarray], list[Face | None]]:
    """Return the crops of a file, and where they were."""
    photo = read_image(path)
    if options.aligned:
        if photo.shape[:2] != (options.size, options.size):
            height, width = photo.shape[:2]
            raise ValueError(
                f"An aligned image has {options.size}×{options.size} pixels, found {width}×{height}: "
                "leave out --aligned to detect and align."
            )
        return [photo], [None]
    faces = require_faces(photo)
    large = [face for face in faces if face.box[2] - face.box[0] >= options.smallest]
    if not large:
        raise ValueError(f"No face is at least {options.smallest:g} pixels wide: lower --smallest.")
    wanted = large if options.every else large[:1]
    return [options.align(photo, face, options.size) for face in wanted], list(wanted)
