"""The inpainting experiment (§5.1) as a table: what filling in does to the quality, and two controls."""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from plqlite.dataset import identity_of
from plqlite.explain import explain
from plqlite.inpaint import Inpainter, inpaint, low_quality_region
from plqlite.models import FaceModel
from plqlite.quality import robustness, ser_fiq_closed_form, stochastic_embeddings

FILLED = ("low", "random", "high")


class Repair(NamedTuple):
    """A face, the region found in it, and the face filled in there and, as controls, elsewhere."""

    image: torch.Tensor  # (3, H, W)
    mask: torch.Tensor  # (H, W) of bool; empty if no region is unusually low
    score: float  # see `Region`; NaN if there is none
    filled: dict[str, torch.Tensor]  # low, random, high -> (3, H, W); the image itself if there is no region


def repair(model: FaceModel, image: torch.Tensor, inpainter: Inpainter, seed: int = 0) -> Repair:
    """Find the unusually low region of a face and fill it in; as controls, as many pixels elsewhere.

    Parameters
    ----------
    model : with a usual map
    image : (3, size, size) aligned RGB, 0..255
    inpainter : see `plqlite.inpaint.inpaint`
    seed : chooses the place of the random control

    Returns
    -------
    Repair

    Raises
    ------
    ValueError
        See `low_quality_region` and `inpaint`.

    Examples
    --------
    >>> repair(model, images[0], mirror).filled["low"].shape
    torch.Size([3, 112, 112])
    """
    saliency = explain(model, image[None], passes=None).saliency  # (1, H, W)
    region = low_quality_region(saliency[0], image, model.usual)
    if region is None or region.mask.all():
        nothing = torch.zeros_like(saliency[0], dtype=torch.bool)
        return Repair(image, nothing, float("nan"), dict.fromkeys(FILLED, image))
    count, size = int(region.mask.sum()), image.shape[-1]
    wide = 2 * int((count / np.pi) ** 0.5) + 1
    smooth = torch.nn.functional.avg_pool2d(saliency[None], wide, 1, wide // 2)[0, 0]  # (H, W); 0 outside
    place = np.random.default_rng(seed).uniform(size / 4, 3 * size / 4, size=2)
    highest = divmod(int(smooth.argmax()), size)
    masks = {"low": region.mask, "random": disc(image, place, count), "high": disc(image, highest, count)}
    return Repair(
        image,
        region.mask,
        region.score,
        {name: inpaint(image, mask, inpainter) for name, mask in masks.items()},
    )


def disc(image: torch.Tensor, centre: Sequence[float], count: int) -> torch.Tensor:
    """Return the `count` pixels of an image that are nearest to a point (row, column): (H, W) of bool."""
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in image.shape[-2:])
    distance = (rows[:, None] - centre[0]) ** 2 + (columns - centre[1]) ** 2  # (H, W)
    mask = torch.zeros(distance.numel(), dtype=torch.bool)
    mask[distance.flatten().argsort(stable=True)[:count]] = True
    return mask.view(distance.shape).to(image.device)


@torch.no_grad()
def qualities(model: FaceModel, images: torch.Tensor, seeds: int = 10, passes: int = 100) -> torch.Tensor:
    """Measure Q with several seeds; each seed's dropout masks are the same for all images.

    Parameters
    ----------
    model : a FaceModel
    images : (B, 3, size, size) aligned RGB, 0..255
    seeds : how many, from 0 on
    passes : see `ser_fiq`

    Returns
    -------
    (seeds, B)

    Examples
    --------
    >>> qualities(model, images).std(0)  # the noise of Q
    """
    features = torch.cat([model.features(batch) for batch in images.split(16)])  # (B, D)
    draws = (stochastic_embeddings(model.head, features, passes, seed=seed) for seed in range(seeds))
    return torch.stack([robustness(embeddings) for embeddings in draws])


def measure_repairs(
    model: FaceModel,
    repairs: Mapping[str, Repair],
    truths: Mapping[str, torch.Tensor] | None = None,
    seeds: int = 10,
) -> pd.DataFrame:
    """Measure what filling in has done.

    Parameters
    ----------
    model : a FaceModel
    repairs : name, PERSON/PHOTO or PERSON -> Repair
    truths : name -> (H, W) of bool, where the occluder really is, if that is known
    seeds : for the noise, see `qualities`

    Returns
    -------
    A row for each: score, area (share of the image), iou with the truth (NaN if unknown); Q in the closed
    form before (`quality`) and after filling in (`low`, and the controls `random` and `high`); the means of
    `seeds` sampled Q before and after (`sampled`, `sampled_low`), and `noise`, their standard deviation
    before. Where no region was found, score is NaN and nothing changes.

    Examples
    --------
    >>> measure_repairs(model, {"ada": repair(model, images[0], mirror)})
    """
    rows = pd.DataFrame({"model": model.name, "image": list(repairs)})
    rows["identity"] = rows["image"].map(identity_of)
    rows["score"] = [each.score for each in repairs.values()]
    rows["area"] = [each.mask.float().mean().item() for each in repairs.values()]
    found = [overlap(each.mask, truths[name]) if truths else np.nan for name, each in repairs.items()]
    rows["iou"] = found
    images = {"quality": [each.image for each in repairs.values()]}
    images |= {name: [each.filled[name] for each in repairs.values()] for name in FILLED}
    for column, each in images.items():
        batches = torch.stack(each).split(16)
        rows[column] = torch.cat([ser_fiq_closed_form(model, batch) for batch in batches]).tolist()
    drawn = qualities(model, torch.stack(images["quality"] + images["low"]), seeds)  # (seeds, 2 B)
    before, after = drawn.tensor_split(2, dim=1)
    rows["sampled"], rows["sampled_low"] = before.mean(0).tolist(), after.mean(0).tolist()
    rows["noise"] = before.std(0).tolist()
    return rows


def inpainting_experiment(
    model: FaceModel,
    faces: Mapping[str, torch.Tensor],
    inpainter: Inpainter,
    truths: Mapping[str, torch.Tensor] | None = None,
) -> pd.DataFrame:
    """Find, fill in and measure faces.

    Parameters
    ----------
    model : with a usual map
    faces : name, PERSON/PHOTO or PERSON -> aligned image (3, size, size), RGB 0..255
    inpainter : see `plqlite.inpaint.inpaint`
    truths : see `measure_repairs`

    Returns
    -------
    See `measure_repairs`.

    Raises
    ------
    ValueError
        No faces; see also `repair`.

    Examples
    --------
    >>> rows = inpainting_experiment(model, {"ada": images[0]}, mirror)
    >>> (rows["low"] > rows["quality"]).mean()
    """
    if not faces:
        raise ValueError("Nothing to fill in: give at least one face.")
    progress = tqdm(faces.items(), desc=model.name, unit="face", disable=None)
    repairs = {
        name: repair(model, face, inpainter, seed=zlib.crc32(name.encode())) for name, face in progress
    }
    return measure_repairs(model, repairs, truths)


def verdict(rows: pd.DataFrame) -> pd.Series:
    """Say of each row whether the sampled Q went up, down, or stayed within its noise.

    Examples
    --------
    >>> verdict(rows).value_counts(normalize=True)
    """
    change = rows["sampled_low"] - rows["sampled"]
    choices = [change > rows["noise"], change < -rows["noise"]]
    return pd.Series(np.select(choices, ["up", "down"], "within noise"), rows.index)


def overlap(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the intersection over union of two masks (H, W) of bool, 0..1; 0 if both are empty."""
    return ((found & truth).sum() / (found | truth).sum().clamp_min(1)).item()
