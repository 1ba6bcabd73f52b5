"""The constants of a new model: α and r of Eq. 2, γ of Eq. 6, fitted on faces and kept beside it."""

import copy
import json
from dataclasses import asdict

import torch
from tqdm import tqdm

from plqlite.explain import explain, write_aside
from plqlite.models import FaceModel, Scaling, identity, scaling_file
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import centre_and_background, fit_gamma


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
    scaling = fit(*(torch.cat(values) for values in zip(*measured, strict=True)), provenance)
    save_scaling(model, scaling)
    return scaling


def save_scaling(model: FaceModel, scaling: Scaling) -> None:
    """Write a model's constants beside its weights, if these are a file of their own.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path = scaling_file(model)
    if path is not None:
        saved = {"scaling": asdict(scaling), "model": identity(model)}
        write_aside(path, lambda file: file.write((json.dumps(saved, indent=2) + "\n").encode()))


def measure(model: FaceModel, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measure what the constants depend on.

    Parameters
    ----------
    model : its own scaling is not used
    images : (B, 3, size, size) aligned RGB, 0..255

    Returns
    -------
    quality Q, saliency Ŝ of the face's centre and of the background, per unit of Q̂; each (B,)

    Examples
    --------
    >>> quality, centre, background = measure(model, images)
    """
    plain = copy.copy(model)
    plain.scaling = Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out: Ŝ is proportional to Q̂
    explanation = explain(plain, images)
    per_quality = explanation.saliency / explanation.scaled_quality[:, None, None]  # (B, H, W)
    return explanation.quality, *centre_and_background(per_quality)


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
    >>> fit(*measure(model, images))
    """
    alpha, r = fit_scaling(quality)
    scaled = scale_quality(quality, alpha, r)
    good = quality >= quality.median()
    gamma = fit_gamma((centre * scaled)[good], (background * scaled)[good])
    return Scaling(round(alpha, 1), round(r, 4), round(gamma, 2), provenance)
