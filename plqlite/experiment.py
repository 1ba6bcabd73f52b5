"""The random-mask experiment (§5.2, §8.4.1) as a table: a row for each image, size, colour and seed."""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from plqlite.dataset import identity_of
from plqlite.disturb import COLOURS, SIZES, coloured_mask, place_generator, random_mask, scaled_size
from plqlite.explain import Explanation, explain
from plqlite.faces import load_face
from plqlite.measure import localisation_auc, pixel_change, quality_change
from plqlite.models import FaceModel, identity
from plqlite.tables import append_rows, open_table

Colour = Sequence[float] | Callable[[torch.Tensor], Sequence[float]]

KEYS = ["setup", "image", "size", "colour", "seed"]
MEASURED = ("quality", "masked_quality", "delta_q", "delta_p", "clean_auc", "auc")
COLUMNS = {"model": str, "setup": str, "image": str, "identity": str, "size": int, "colour": str, "seed": int}
COLUMNS |= dict.fromkeys(("top", "left"), int) | dict.fromkeys(MEASURED, float)


def mask_experiment(
    model: FaceModel,
    faces: Mapping[str, torch.Tensor | str | Path],
    sizes: Sequence[int] = SIZES,
    colours: Mapping[str, Colour] = {"black": COLOURS["black"]},
    seeds: Sequence[int] = (0,),
    passes: int | None = 100,
    table: str | Path | None = None,
) -> pd.DataFrame:
    """Cover faces in many places and measure what that does to quality and map.

    Masks of all colours lie in the same places. A face and its masked versions see the same dropout masks.

    Parameters
    ----------
    model : a FaceModel
    faces : name, PERSON/PHOTO or PERSON -> aligned image (3, size, size), RGB 0..255, or file of such a crop
        (see `plqlite.dataset.aligned_faces`)
    sizes : sides of the masks in an image of 112 pixels; scaled for other sizes
    colours : name -> RGB 0..255, or a function that measures it on the image, such as `skin_colour`
    seeds : a place for each
    passes : dropout passes; None for the closed form
    table : a .csv file that keeps the rows; those that it has of the same model, scaling, passes, image and
        colour are not measured again

    Returns
    -------
    A row for each image, size, colour and seed: where the mask lies, Q before and after, Δ_Q̂ (Eq. 8),
    Δ_p (Eq. 9), and the localisation AUC of the map before (`clean_auc`) and after (`auc`).

    Raises
    ------
    ValueError
        Nothing to measure, a mask that does not fit, a table of something else; see also `explain`.
    FileNotFoundError, UnreadableImage
        A crop is missing or damaged.

    Examples
    --------
    >>> rows = mask_experiment(model, {"ada": images[0]}, sizes=[30], seeds=range(10))
    >>> share_positive(rows["delta_p"], rows["identity"])
    """
    wanted = list(dict.fromkeys(itertools.product(sizes, colours, seeds)))
    if not faces or not wanted:
        raise ValueError("Nothing to measure: give at least one face, size, colour and seed.")
    setup, table = _setup(model, passes), Path(table) if table else None
    parts = [open_table(table, COLUMNS).drop_duplicates(KEYS, keep="last")] if table else []
    done = {key for part in parts for key in part[KEYS].itertuples(index=False, name=None)}
    asked = []
    progress = tqdm(faces.items(), desc=model.name, unit="face", disable=None if table is None else False)
    for name, face in progress:
        image = face if isinstance(face, torch.Tensor) else load_face(face, model, aligned=True)[0]
        paints = {label: colour(image) if callable(colour) else colour for label, colour in colours.items()}
        setups = {label: _digest(setup, image, paint) for label, paint in paints.items()}
        keys = [(setups[colour], name, size, colour, seed) for size, colour, seed in wanted]
        asked += keys
        todo = [key[2:] for key in keys if key not in done]
        clean = explain(model, image[None], passes) if todo else None
        for start in range(0, len(todo), 16):
            rows = measure_masks(model, image, clean, name, todo[start : start + 16], paints, passes)
            rows = rows.assign(setup=rows["colour"].map(setups)).astype(COLUMNS)
            if table:
                append_rows(table, COLUMNS, rows)
            parts.append(rows)
    rows = pd.concat([part for part in parts if len(part)]).set_index(KEYS)
    return rows.loc[asked].reset_index()[list(COLUMNS)]  # a table may hold more, in another order


def measure_masks(
    model: FaceModel,
    image: torch.Tensor,
    clean: Explanation,
    name: str,
    masks: Sequence[tuple[int, str, int]],
    colours: Mapping[str, Sequence[float]],
    passes: int | None = 100,
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
    >>> measure_masks(model, image, explain(model, image[None]), "ada", [(30, "black", 0)], COLOURS)
    """
    covered = [cover(image, name, size, colours[colour], seed) for size, colour, seed in masks]
    images, squares = (torch.stack(each) for each in zip(*covered, strict=True))  # (B, 3, H, W), (B, H, W)
    disturbed = explain(model, images, passes)
    rows = pd.DataFrame(masks, columns=["size", "colour", "seed"])
    rows[["model", "image", "identity"]] = model.name, name, identity_of(name)
    rows[["top", "left"]] = [square.nonzero()[0].tolist() for square in squares]
    rows["quality"] = clean.quality.item()
    rows["masked_quality"] = disturbed.quality.tolist()
    rows["delta_q"] = quality_change(clean, disturbed).tolist()
    rows["delta_p"] = pixel_change(clean, disturbed, squares).tolist()
    rows["clean_auc"] = [localisation_auc(clean.saliency[0], square) for square in squares]
    rows["auc"] = [localisation_auc(*pair) for pair in zip(disturbed.saliency, squares, strict=True)]
    return rows


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
    >>> masked, mask = cover(image, "ada/1.png", 30, skin_colour, seed=0)
    """
    _, mask = random_mask(image, scaled_size(size, image.shape[-1]), place_generator(seed, size, name))
    return coloured_mask(image, mask, colour(image) if callable(colour) else colour), mask


def _setup(model: FaceModel, passes: int | None) -> str:
    """Return what the numbers depend on besides the image, as a text."""
    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.cpu().numpy().tobytes())
    scaling = asdict(model.scaling) if model.scaling else None
    return json.dumps([model.name, identity(model), weights.hexdigest(), scaling, passes])


def _digest(setup: str, image: torch.Tensor, colour: Sequence[float]) -> str:
    """Return a short hash of setup, image and colour: what a row of a table was measured for."""
    content = [
        setup.encode(),
        image.cpu().numpy().tobytes(),
        str([float(value) for value in colour]).encode(),
    ]
    return hashlib.sha256(b"".join(content)).hexdigest()[:12]
