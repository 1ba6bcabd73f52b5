"""The random-mask experiment (§5.2, §8.4.1) as a table: a row for each image, size, colour and seed."""

import hashlib
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

KEYS = ("image", "size", "colour", "seed")
MEASURED = ("quality", "masked_quality", "delta_q", "delta_p", "delta_p_outside", "clean_auc", "auc")
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
    table : a .csv file that keeps the rows; those that it has are not measured again

    Returns
    -------
    A row for each image, size, colour and seed, with Q before and after, Δ_Q̂ (Eq. 8), Δ_p (Eq. 9) inside
    the mask and outside, the localisation AUC of the map before (`clean_auc`) and after (`auc`).

    Raises
    ------
    ValueError
        No faces, a mask that does not fit, a table of something else; see also `explain`.

    Examples
    --------
    >>> rows = mask_experiment(model, {"ada": images[0]}, sizes=[30], seeds=range(10))
    >>> share_positive(rows["delta_p"], rows["identity"])
    """
    if not faces:
        raise ValueError("There are no faces: give at least one, as name -> aligned image or file.")
    setup, table = _setup(model, passes), Path(table) if table else None
    known = open_table(table, COLUMNS).query("setup == @setup") if table else pd.DataFrame(columns=KEYS)
    done = set(known[list(KEYS)].itertuples(index=False, name=None))
    wanted = [(size, colour, seed) for size in sizes for colour in colours for seed in seeds]
    parts = [known] if len(known) else []
    for name, face in tqdm(faces.items(), desc=model.name, unit="face", disable=None):
        todo = [each for each in wanted if (name, *each) not in done]
        if not todo:
            continue
        image = face if isinstance(face, torch.Tensor) else load_face(face, model, aligned=True)[0]
        rows = measure_masks(model, image, name, todo, colours, passes).assign(setup=setup).astype(COLUMNS)
        if table:
            append_rows(table, COLUMNS, rows)
        parts.append(rows)
    asked = [(name, *each) for name in faces for each in wanted]  # a table may hold more, in another order
    return pd.concat(parts).set_index(list(KEYS)).loc[asked].reset_index()[list(COLUMNS)]


def measure_masks(
    model: FaceModel,
    image: torch.Tensor,
    name: str,
    masks: Sequence[tuple[int, str, int]],
    colours: Mapping[str, Colour],
    passes: int | None = 100,
) -> pd.DataFrame:
    """Cover one face in many places and measure each.

    Parameters
    ----------
    model, colours, passes : see `mask_experiment`
    image : (3, size, size) RGB, 0..255
    name : of the image; the places depend on it
    masks : size at 112 pixels, colour and seed of each

    Returns
    -------
    A row for each mask; see `mask_experiment`.

    Examples
    --------
    >>> measure_masks(model, images[0], "ada", [(30, "black", 0)], COLOURS)["delta_p"]
    """
    covered = [cover(image, name, size, colours[colour], seed) for size, colour, seed in masks]
    images, squares = (torch.stack(each) for each in zip(*covered, strict=True))  # (N, 3, H, W), (N, H, W)
    clean, disturbed = explain(model, image[None], passes), _explain_all(model, images, passes)
    rows = pd.DataFrame(masks, columns=["size", "colour", "seed"])
    rows[["model", "image", "identity"]] = model.name, name, identity_of(name)
    rows[["top", "left"]] = [square.nonzero()[0].tolist() for square in squares]
    rows["quality"] = clean.quality.item()
    rows["masked_quality"] = disturbed.quality.tolist()
    rows["delta_q"] = quality_change(clean, disturbed).tolist()
    rows["delta_p"] = pixel_change(clean, disturbed, squares).tolist()
    rows["delta_p_outside"] = pixel_change(clean, disturbed, ~squares).tolist()
    rows["clean_auc"] = [localisation_auc(clean.plq[0], square) for square in squares]
    rows["auc"] = [localisation_auc(*pair) for pair in zip(disturbed.plq, squares, strict=True)]
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


def _explain_all(model: FaceModel, images: torch.Tensor, passes: int | None) -> Explanation:
    """Explain many images, sixteen at a time."""
    parts = [vars(explain(model, batch, passes)).values() for batch in images.split(16)]
    return Explanation(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _setup(model: FaceModel, passes: int | None) -> str:
    """Return a short hash of what the numbers depend on besides the images."""
    scaling = asdict(model.scaling) if model.scaling else None
    content = json.dumps([model.name, identity(model), scaling, passes])
    return hashlib.sha256(content.encode()).hexdigest()[:8]
