"""The random-mask experiment (§4.1, §5.2, §8.4.1): squares in any colour, and a table of what they change."""

import contextlib
import hashlib
import itertools
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from plqlite.experiments.dataset import identity_of
from plqlite.experiments.statistics import localisation_auc, pixel_change, quality_change
from plqlite.experiments.tables import append_rows, open_table
from plqlite.explanation import Explanation, explain
from plqlite.locks import locked
from plqlite.networks.model import FaceModel, load_face

Colour = Sequence[float] | Callable[[torch.Tensor], Sequence[float]]
MaskKey = tuple[int, str, int]  # size at 112 pixels, colour, seed

# Twelve colours that are far from each other, from dark to bright; the paper's Figure 13 shows twelve, too.
COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "brown": (139, 69, 19),
    "red": (255, 0, 0),
    "grey": (128, 128, 128),
    "green": (0, 160, 0),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "cyan": (0, 255, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
INNER = 0.9  # the share of height and width that masks are placed in (§4.1)
SIZES = (10, 20, 30, 40, 50)  # sides of the masks in an image of 112 pixels (§4.1)

KEYS = ["setup", "image", "size", "colour", "seed"]
NUMBERS = ("quality", "masked_quality", "delta_q", "delta_p", "clean_auc", "auc")
COLUMNS: dict[str, type] = {
    **{"model": str, "setup": str, "image": str, "identity": str, "size": int, "colour": str, "seed": int},
    **{"top": int, "left": int},
    **dict.fromkeys(NUMBERS, float),
}


def random_mask(
    image: torch.Tensor, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cover a square somewhere on a face with black (§4.1).

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255
    size : side of the square in pixels of this image; see `scaled_size`
    rng : draws the place, within the inner 90 % of the image

    Returns
    -------
    masked image (3, H, W), mask (H, W) of bool

    Raises
    ------
    ValueError
        No such square fits.

    Examples
    --------
    >>> masked, mask = random_mask(torch.ones(3, 112, 112), 30, np.random.default_rng(0))
    >>> mask.sum()
    tensor(900)
    """
    shape = image.shape[-2:]
    margins = [math.ceil((1 - INNER) / 2 * side - 1e-9) for side in shape]  # 1e-9: 0.1 / 2 is inexact
    largest = min(side - 2 * margin for side, margin in zip(shape, margins, strict=True))
    if not 1 <= size <= largest:
        raise ValueError(
            f"A mask of {size} pixels does not fit into the inner {INNER:.0%} of an image of "
            f"{shape[1]}×{shape[0]}: choose 1 to {largest}."
        )
    top, left = (
        int(rng.integers(margin, side - margin - size + 1))
        for side, margin in zip(shape, margins, strict=True)
    )
    mask = torch.zeros(shape, dtype=torch.bool, device=image.device)
    mask[top : top + size, left : left + size] = True
    return coloured_mask(image, mask, COLOURS["black"]), mask


def coloured_mask(image: torch.Tensor, mask: torch.Tensor, colour: Sequence[float]) -> torch.Tensor:
    """Cover a part of a face with one colour (§8.4.1).

    Parameters
    ----------
    image : (3, H, W) RGB, 0..255
    mask : (H, W) of bool, what to cover
    colour : RGB, 0..255, such as COLOURS["red"] or `skin_colour(image)`

    Returns
    -------
    (3, H, W)

    Examples
    --------
    >>> mask = torch.tensor([[True, False]])
    >>> coloured_mask(torch.ones(3, 1, 2), mask, COLOURS["red"])[:, 0].tolist()
    [[255.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    return torch.where(mask, torch.as_tensor(colour).to(image).reshape(3, 1, 1), image)


def skin_colour(image: torch.Tensor) -> tuple[float, ...]:
    """Measure the colour of a face: the median of nose and cheeks in an aligned image.

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255

    Returns
    -------
    RGB, 0..255

    Examples
    --------
    >>> skin_colour(torch.full((3, 112, 112), 90.0))
    (90.0, 90.0, 90.0)
    """
    height, width = image.shape[-2:]
    rows = slice(round(0.52 * height), round(0.72 * height))  # below the eyes, above the mouth
    columns = slice(round(0.3 * width), round(0.7 * width))
    return tuple(image[:, rows, columns].flatten(1).median(dim=1).values.tolist())


def scaled_size(size: int, width: int) -> int:
    """Convert the side of a mask in an image of 112 pixels to that in an image of another width.

    Examples
    --------
    >>> scaled_size(50, width=160)
    71
    """
    return round(size * width / 112)


def place_generator(seed: int, size: int, name: str) -> np.random.Generator:
    """Return the generator that draws a mask's place: it depends on these three, not on any other image.

    Parameters
    ----------
    seed : another seed means another place, for every size and image
    size : side of the mask at 112 pixels
    name : of the image

    Examples
    --------
    >>> int(place_generator(0, 30, "ada/1.png").integers(100))
    35
    """
    return np.random.default_rng([seed, size, zlib.crc32(name.encode())])


def cover(
    image: torch.Tensor, name: str, size: int, colour: Colour, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cover a square of a face, in the place that belongs to name, size and seed.

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255
    name, size, seed : see `place_generator`; the size is one at 112 pixels
    colour : RGB 0..255, or a function that measures it on the image

    Returns
    -------
    masked image (3, H, W), mask (H, W) of bool

    Examples
    --------
    >>> masked, mask = cover(torch.ones(3, 160, 160), "ada/1.png", 30, skin_colour, seed=0)
    >>> mask.sum()
    tensor(1849)
    """
    _, mask = random_mask(image, scaled_size(size, image.shape[-1]), place_generator(seed, size, name))
    return coloured_mask(image, mask, colour(image) if callable(colour) else colour), mask


def mask_experiment(
    model: FaceModel,
    faces: Mapping[str, torch.Tensor | str | Path],
    sizes: Sequence[int] = SIZES,
    colours: Mapping[str, Colour] = {"black": COLOURS["black"]},
    seeds: Sequence[int] = (0,),
    passes: int | None = None,
    table: str | Path | None = None,
) -> pd.DataFrame:
    """Cover faces in many places and measure what that does to the quality and to the PLQ map.

    Masks of all colours are in the same places. A face and its masked versions are measured in the same
    way.

    Parameters
    ----------
    model : a FaceModel
    faces : name, PERSON/PHOTO or PERSON -> aligned image (3, size, size), RGB 0..255, or file of such a crop
        (see `plqlite.experiments.dataset.aligned_faces`)
    sizes : sides of the masks in an image of 112 pixels; scaled for other sizes
    colours : name -> RGB 0..255, or a function that measures it on the image, such as `skin_colour`
    seeds : one place for each
    passes : dropout passes, see `plqlite.explain`; None for the closed form
    table : a .csv file that keeps the rows; those that it holds for the same model, scaling, passes, image
        and colour are not measured again

    Returns
    -------
    A row for each image, size, colour and seed: where the mask is, the quality score Q before and after,
    Δ_Q̂ (Eq. 8), Δ_p (Eq. 9), and the localisation AUC of the map before (`clean_auc`) and after (`auc`).

    Raises
    ------
    ValueError
        Nothing to measure, a mask that does not fit, a table of something else; see also `explain`.
    FileNotFoundError, UnreadableImage
        A crop is missing or damaged.

    Examples
    --------
    >>> import plqlite
    >>> model, photo = plqlite.sface(), plqlite.sample_faces()["astronaut"]
    >>> rows = mask_experiment(model, {"ada": plqlite.load_face(photo, model)[0]}, sizes=[10, 50])
    >>> rows[["identity", "size"]].to_numpy().tolist()
    [['ada', 10], ['ada', 50]]
    """
    wanted = list(dict.fromkeys(itertools.product(sizes, colours, seeds)))
    if not faces or not wanted:
        raise ValueError("Nothing to measure: give at least one face, size, colour and seed.")
    path = Path(table) if table else None
    with locked(path) if path else contextlib.nullcontext():
        return _measure_masks(model, faces, wanted, colours, passes, path)


def _measure_masks(
    model: FaceModel,
    faces: Mapping[str, torch.Tensor | str | Path],
    wanted: Sequence[MaskKey],
    colours: Mapping[str, Colour],
    passes: int | None,
    path: Path | None,
) -> pd.DataFrame:
    """Do what `mask_experiment` does, into a table that nobody else writes."""
    setup = _setup(model, passes)
    parts = [open_table(path, COLUMNS).drop_duplicates(KEYS, keep="last")] if path else []
    done = {key for part in parts for key in part[KEYS].itertuples(index=False, name=None)}
    asked = []
    progress = tqdm(faces.items(), desc=model.name, unit="face", disable=False if path else None)
    for name, face in progress:
        image = face if isinstance(face, torch.Tensor) else load_face(face, model, aligned=True)[0]
        paints = {label: colour(image) if callable(colour) else colour for label, colour in colours.items()}
        setups = {label: _digest(setup, image, paint) for label, paint in paints.items()}
        keys = [(setups[colour], name, size, colour, seed) for size, colour, seed in wanted]
        asked += keys
        missing = [key[2:] for key in keys if key not in done]
        for rows in _rows_in_batches(model, image, name, missing, paints, passes):
            rows = rows.assign(setup=rows["colour"].map(setups)).astype(COLUMNS)
            if path:
                append_rows(path, COLUMNS, rows)
            parts.append(rows)
    rows = pd.concat([part for part in parts if len(part)]).set_index(KEYS)
    return rows.loc[asked].reset_index()[list(COLUMNS)]  # a table may hold more, in another order


def _rows_in_batches(
    model: FaceModel,
    image: torch.Tensor,
    name: str,
    masks: Sequence[MaskKey],
    colours: Mapping[str, Sequence[float]],
    passes: int | None,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of some masks of one face, sixteen at a time: an interruption loses no more."""
    if not masks:
        return
    clean = explain(model, image[None], passes)
    for start in range(0, len(masks), 16):
        yield mask_rows(model, image, clean, name, masks[start : start + 16], colours, passes)


def mask_rows(
    model: FaceModel,
    image: torch.Tensor,
    clean: Explanation,
    name: str,
    masks: Sequence[MaskKey],
    colours: Mapping[str, Sequence[float]],
    passes: int | None = None,
) -> pd.DataFrame:
    """Cover one face in some places and measure each.

    Parameters
    ----------
    model, passes : see `mask_experiment`
    image : (3, size, size) RGB, 0..255
    clean : explanation of the image
    name : of the image; the places depend on it
    masks : size at 112 pixels, colour and seed of each; they are explained as one batch
    colours : name -> RGB, 0..255

    Returns
    -------
    A row for each mask; see `mask_experiment`.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> image = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)[0]
    >>> rows = mask_rows(model, image, explain(model, image[None]), "ada", [(30, "black", 0)], COLOURS)
    >>> bool(rows["delta_q"][0] > 0)
    True
    """
    covered = [cover(image, name, size, colours[colour], seed) for size, colour, seed in masks]
    images, squares = (torch.stack(each) for each in zip(*covered, strict=True))  # (B, 3, H, W), (B, H, W)
    masked = explain(model, images, passes)
    rows = pd.DataFrame(masks, columns=["size", "colour", "seed"])
    rows[["model", "image", "identity"]] = model.name, name, identity_of(name)
    rows[["top", "left"]] = [square.nonzero()[0].tolist() for square in squares]
    rows["quality"] = clean.quality.item()
    rows["masked_quality"] = masked.quality.tolist()
    rows["delta_q"] = quality_change(clean, masked).tolist()
    rows["delta_p"] = pixel_change(clean, masked, squares).tolist()
    rows["clean_auc"] = [localisation_auc(clean.saliency[0], square) for square in squares]
    rows["auc"] = [localisation_auc(*pair) for pair in zip(masked.saliency, squares, strict=True)]
    return rows


def _setup(model: FaceModel, passes: int | None) -> str:
    """Return, as a text, what the numbers depend on besides the image."""
    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.cpu().numpy().tobytes())
    scaling = asdict(model.scaling) if model.scaling else None
    return json.dumps([model.name, model.identity, weights.hexdigest(), scaling, passes or "closed form"])


def _digest(setup: str, image: torch.Tensor, colour: Sequence[float]) -> str:
    """Return a short hash of setup, image and colour: what a row of a table was measured for."""
    content = [
        setup.encode(),
        image.cpu().numpy().tobytes(),
        str([float(value) for value in colour]).encode(),
    ]
    return hashlib.sha256(b"".join(content)).hexdigest()[:12]
