"""Measure a development set: photos that the constants of a model are fitted on."""

import copy
from collections.abc import Iterable

import torch
from tqdm import tqdm

from plqlite.calibration import Measurements, Scaling, fit, fit_reference_statistics, save_calibration
from plqlite.explanation import explain
from plqlite.networks.model import FaceModel
from plqlite.regions import face_regions, region_levels, relative_level
from plqlite.saliency import centre_and_background


def calibrate(model: FaceModel, images: torch.Tensor) -> Scaling:
    """Fit the constants of a model on faces, and save them beside its weights if these are a file.

    `from_onnx`, `arcface` and `facenet("vggface2")` find what was saved when they build the same model
    again, and with it the reference statistics. Q is the closed form, Ŝ that of the reading `signed`.

    Parameters
    ----------
    model : with or without a scaling; it is not changed
    images : (N, 3, size, size) aligned RGB, 0..255, of N different photos; take a hundred or more, of
        the kind that you want to judge

    Returns
    -------
    Scaling, to be assigned: model.scaling = …; the reference statistics are there the next time that the
    model is built, or now with
    model.reference_statistics = fit_reference_statistics(measure(model, images)).

    Raises
    ------
    ValueError
        Fewer than two images, or all of the same quality.
    OSError
        The constants cannot be saved.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> photos = list(plqlite.sample_faces().values())[:2]  # take a hundred
    >>> model.scaling = calibrate(model, torch.cat([plqlite.load_face(photo, model) for photo in photos]))
    """
    batches = tqdm(images.split(8), desc=f"calibrating {model.name}", disable=None)
    measurements = joined(measure(model, batch) for batch in batches)
    provenance = f"calibrate on {len(images)} images; closed form, signed"
    scaling = fit(*measurements[:3], provenance)
    if model.calibration_file is not None:
        statistics = fit_reference_statistics(measurements)
        save_calibration(model.calibration_file, scaling, statistics, model.identity)
    return scaling


def measure(model: FaceModel, images: torch.Tensor) -> Measurements:
    """Measure what the constants of a model depend on.

    Parameters
    ----------
    model : its own scaling is not used
    images : (B, 3, size, size) aligned RGB, 0..255

    Returns
    -------
    Measurements of B images.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> measure(model, plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).regions.shape
    torch.Size([1, 8])
    """
    plain = copy.copy(model)
    plain.scaling = Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out: Ŝ is proportional to Q̂
    explanation = explain(plain, images)
    per_quality = explanation.saliency / explanation.scaled_quality[:, None, None]  # (B, H, W)
    return Measurements(
        explanation.quality,
        *centre_and_background(per_quality),
        relative_level(per_quality),
        region_levels(per_quality, face_regions(model)),
    )


def joined(batches: Iterable[Measurements]) -> Measurements:
    """Put the measurements of several batches into one.

    Examples
    --------
    >>> one = Measurements(*(torch.zeros(1, *shape) for shape in ((), (), (), (28, 28), (8,))))
    >>> len(joined([one, one]).quality)
    2
    """
    return Measurements(*(torch.cat(values) for values in zip(*batches, strict=True)))
