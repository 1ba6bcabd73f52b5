"""The constants of a new model: α and r of Eq. 2, γ of Eq. 6, fitted on faces and kept beside it."""

import copy
import json
from dataclasses import asdict

import torch
from tqdm import tqdm

from plqlite.explain import explain, write_aside
from plqlite.models import FaceModel, Scaling, Usual, identity, scaling_file
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import centre_and_background, fit_gamma, relative_level


def calibrate(model: FaceModel, images: torch.Tensor) -> Scaling:
    """Fit the constants of a model on faces, and save them beside it if its weights are a file.

    `from_onnx`, `arcface` and `facenet("vggface2")` find what was saved when they build the same model
    again. Q is measured with 100 passes and seed 0, Ŝ with the reading `signed`.

    Parameters
    ----------
    model : with or without a scaling, which stays as it is
    images : (N, 3, size, size) aligned RGB, 0..255, of N different photos; take a hundred or more, of
        the kind that you want to judge

    Returns
    -------
    Scaling, to be assigned: model.scaling = …

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
    measured = [measure(model, batch) for batch in batches]
    provenance = f"calibrate on {len(images)} images; 100 passes, seed 0, signed"
    quality, centre, background, _ = (torch.cat(values) for values in zip(*measured, strict=True))
    scaling = fit(quality, centre, background, provenance)
    save_scaling(model, scaling)
    return scaling


def save_scaling(model: FaceModel, scaling: Scaling, usual: Usual | None = None) -> None:
    """Write a model's constants, and its usual map, beside its weights, if these are a file of their own.

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
    rounded = {name: value.double().mul(100).round().div(100) for name, value in usual._asdict().items()}
    return asdict(scaling) | {
        "usual": {"mean": rounded["mean"].tolist(), "spread": rounded["spread"].clamp_min(0.01).tolist()}
    }


def usual_map(levels: torch.Tensor) -> Usual:
    """Learn how the maps of undisturbed faces look, so that what is unusually low can be told.

    Parameters
    ----------
    levels : (N, 28, 28), `relative_level` of the saliency of N faces without occluders; a hundred or more

    Returns
    -------
    Usual, to be assigned: model.usual = …

    Raises
    ------
    ValueError
        Fewer than two.

    Examples
    --------
    >>> model.usual = usual_map(relative_level(explain(model, images).saliency))
    """
    if len(levels) < 2:
        raise ValueError(f"{len(levels)} faces: a usual map needs at least 2, better a hundred.")
    return Usual(levels.mean(0).cpu(), levels.std(0).cpu())


def measure(
    model: FaceModel, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measure what the constants depend on.

    Parameters
    ----------
    model : its own scaling is not used
    images : (B, 3, size, size) aligned RGB, 0..255

    Returns
    -------
    quality Q, saliency Ŝ of the face's centre and of the background, per unit of Q̂; each (B,);
    `relative_level`, (B, 28, 28)

    Examples
    --------
    >>> quality, centre, background, level = measure(model, images)
    """
    plain = copy.copy(model)
    plain.scaling = Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out: Ŝ is proportional to Q̂
    explanation = explain(plain, images)
    per_quality = explanation.saliency / explanation.scaled_quality[:, None, None]  # (B, H, W)
    return explanation.quality, *centre_and_background(per_quality), relative_level(per_quality)


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
