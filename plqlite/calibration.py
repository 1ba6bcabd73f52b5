"""The constants of a new model: α and r of Eq. 2, γ of Eq. 6, fitted on faces and kept beside it."""

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import NamedTuple

import torch
from tqdm import tqdm

from plqlite.explain import explain, write_aside
from plqlite.faces import face_regions
from plqlite.models import FaceModel, Scaling, Usual, identity, scaling_file
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import centre_and_background, fit_gamma, region_levels, relative_level


class Measured(NamedTuple):
    """What the constants of a model depend on, of N images."""

    quality: torch.Tensor  # Q, (N,)
    centre: torch.Tensor  # Ŝ of the face's centre per unit of Q̂, (N,)
    background: torch.Tensor  # and of the background, (N,)
    level: torch.Tensor  # `relative_level`, (N, 28, 28)
    regions: torch.Tensor  # `region_levels`, (N, 8)


def calibrate(model: FaceModel, images: torch.Tensor) -> Scaling:
    """Fit the constants of a model on faces, and save them beside it if its weights are a file.

    `from_onnx`, `arcface` and `facenet("vggface2")` find what was saved when they build the same model
    again, and with it how undisturbed faces look (`usual_faces`). Q is measured with 100 passes and seed 0,
    Ŝ with the reading `signed`.

    Parameters
    ----------
    model : with or without a scaling, which stays as it is
    images : (N, 3, size, size) aligned RGB, 0..255, of N different photos; take a hundred or more, of
        the kind that you want to judge

    Returns
    -------
    Scaling, to be assigned: model.scaling = …; what is usual is for the next time that the model is built,
    or for now: model.usual = usual_faces(measure(model, images)).

    Raises
    ------
    ValueError
        Fewer than two images, or all of the same quality.
    OSError
        The constants cannot be saved.

    Examples
    --------
    >>> model = plqlite.from_onnx("w600k_r50.onnx")
    >>> model.scaling = plqlite.calibrate(model, images)
    """
    batches = tqdm(images.split(8), desc=f"calibrating {model.name}", disable=None)
    measured = joined(measure(model, batch) for batch in batches)
    provenance = f"calibrate on {len(images)} images; 100 passes, seed 0, signed"
    scaling = fit(*measured[:3], provenance)
    save_scaling(model, scaling, usual_faces(measured))
    return scaling


def save_scaling(model: FaceModel, scaling: Scaling, usual: Usual | None = None) -> None:
    """Write a model's constants, and what is usual, beside its weights, if these are a file of their own.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path = scaling_file(model)
    if path is not None:
        saved = {"scaling": calibration_entry(scaling, usual), "model": identity(model)}
        write_aside(path, lambda file: file.write((json.dumps(saved) + "\n").encode()))


def calibration_entry(scaling: Scaling, usual: Usual | None = None) -> dict:
    """Return what `read_calibration` of plqlite/models.py reads: for a JSON file."""
    if usual is None:
        return asdict(scaling)
    digits = {"quality": 5, "region_mean": 3, "region_spread": 3}  # and 2
    rounded = {
        name: value.double().round(decimals=digits.get(name, 2)) for name, value in usual._asdict().items()
    }
    return asdict(scaling) | {"usual": {name: value.tolist() for name, value in rounded.items()}}


def usual_faces(measured: Measured) -> Usual:
    """Learn how undisturbed faces look to a model, so that what is unusually low can be told.

    Parameters
    ----------
    measured : of N faces without occluders, a hundred or more

    Returns
    -------
    Usual, to be assigned: model.usual = …

    Raises
    ------
    ValueError
        Fewer than two.

    Examples
    --------
    >>> model.usual = usual_faces(measure(model, images))
    """
    if len(measured.quality) < 2:
        raise ValueError(f"{len(measured.quality)} faces: what is usual takes at least 2, better a hundred.")
    quality, _, _, level, regions = (each.cpu() for each in measured)
    percentiles = quality.double().quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    spread, region_spread = level.std(0).clamp_min(0.01), regions.std(0).clamp_min(0.001)  # never 0
    return Usual(level.mean(0), spread, regions.mean(0), region_spread, percentiles.float())


def joined(batches: Iterable[Measured]) -> Measured:
    """Put the measurements of several batches into one."""
    return Measured(*(torch.cat(values) for values in zip(*batches, strict=True)))


def measure(model: FaceModel, images: torch.Tensor) -> Measured:
    """Measure what the constants depend on.

    Parameters
    ----------
    model : its own scaling is not used
    images : (B, 3, size, size) aligned RGB, 0..255

    Returns
    -------
    Measured

    Examples
    --------
    >>> measure(model, images).quality
    """
    plain = copy.copy(model)
    plain.scaling = Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out: Ŝ is proportional to Q̂
    explanation = explain(plain, images)
    per_quality = explanation.saliency / explanation.scaled_quality[:, None, None]  # (B, H, W)
    return Measured(
        explanation.quality,
        *centre_and_background(per_quality),
        relative_level(per_quality),
        region_levels(per_quality, face_regions(model)),
    )


def fit(
    quality: torch.Tensor, centre: torch.Tensor, background: torch.Tensor, provenance: str = ""
) -> Scaling:
    """Fit α and r on all images, and γ on the better half, which stands in for ICAO-compliant faces.

    Parameters
    ----------
    quality, centre, background : (N,) each, see `measure`

    Raises
    ------
    ValueError
        See `fit_scaling`.

    Examples
    --------
    >>> fit(*measure(model, images)[:3])
    """
    alpha, r = fit_scaling(quality)
    scaled = scale_quality(quality, alpha, r)
    good = quality >= quality.median()
    gamma = fit_gamma((centre * scaled)[good], (background * scaled)[good])
    return Scaling(round(alpha, 1), round(r, 4), round(gamma, 2), provenance)
