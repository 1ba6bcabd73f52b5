"""Measure a development set: photos that the constants of a model are fitted on."""

import copy
import warnings
from collections.abc import Iterable, Sequence

import torch
from tqdm import tqdm

from plqlite.calibration import ALARMS, Measurements, Scaling, fit, save_calibration
from plqlite.explanation import explain
from plqlite.networks.model import FaceModel
from plqlite.reference import deviation, fit_reference_statistics, maps_of
from plqlite.regions import region_z_scores
from plqlite.saliency import centre_and_background

FALSE_ALARMS = 0.05  # share of the faces that nothing covers in which a part is named
FEWEST = 20  # faces, below which no alarms are fitted


def calibrate(model: FaceModel, images: torch.Tensor, degraded: torch.Tensor | None = None) -> Scaling:
    """Fit the constants of a model on faces, and save them beside its weights if these are a file.

    `from_onnx`, `arcface` and `facenet("vggface2")` find what was saved when they build the same model
    again, and with it the reference statistics. Q is the closed form, Ŝ that of the reading `signed`.

    Parameters
    ----------
    model : with or without a scaling; it is not changed
    images : (N, 3, size, size) aligned RGB, 0..255, of N different photos; take a hundred or more, of
        the kind that you want to judge, in which nothing covers the face
    degraded : (M, 3, size, size), worse versions of these, see `plqlite.experiments.degradations`: Q̂ then
        has room for photos that are worse than yours

    Returns
    -------
    Scaling, to be assigned: model.scaling = …; the reference statistics are there the next time that the
    model is built, or now with
    model.reference_statistics = fit_reference_statistics(measure(model, images)).

    Raises
    ------
    TypeError
        The images are no tensor.
    ValueError
        Fewer than two images, or all of nearly the same quality.
    OSError
        The constants cannot be saved.

    Warns
    -----
    UserWarning
        Some images are copies of others; each counts once.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> photos = list(plqlite.sample_faces().values())[:2]  # take a hundred
    >>> model.scaling = calibrate(model, torch.cat([plqlite.load_face(photo, model) for photo in photos]))
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"calibrate takes one tensor (N, 3, size, size), found {type(images).__name__}.")
    images = _without_copies(images)
    clean, worse = measure_all(model, images), None if degraded is None else measure_all(model, degraded)
    added = "" if degraded is None else f" and {len(degraded)} degraded ones"
    provenance = f"calibrate on {len(images)} images{added}; closed form, signed"
    scaling = fit(*clean[:3], provenance, None if worse is None else worse.quality)
    if model.calibration_file is not None:
        statistics = fit_reference_statistics(clean)._replace(alarms=fit_alarms(model, clean))
        save_calibration(model.calibration_file, scaling, statistics, model.identity)
    return scaling


def _without_copies(images: torch.Tensor) -> torch.Tensor:
    """Leave out images that are copies of others, pixel for pixel, and say so."""
    first = {image.cpu().numpy().tobytes(): index for index, image in reversed(list(enumerate(images)))}
    if copies := len(images) - len(first):
        warnings.warn(f"{copies} of {len(images)} images are copies of others: not counted.", stacklevel=3)
    return images[sorted(first.values())]


def measure_all(model: FaceModel, images: torch.Tensor) -> Measurements:
    """Measure many images, (N, 3, size, size), eight at a time; see `measure`."""
    batches = tqdm(images.split(8), desc=f"calibrating {model.name}", disable=None)
    return joined(measure(model, batch) for batch in batches)


def fit_alarms(
    model: FaceModel,
    faces: Measurements,
    groups: Sequence | None = None,
    learnt: torch.Tensor | None = None,
) -> dict[str, float]:
    """Choose how low a part of a face must be to be named: in 5 % of the faces that nothing covers, one is.

    The forehead varies more from face to face than the eyes do, so each part has an alarm of its own: what
    2 % of the faces are below, times one number for all parts. Each group is judged against the statistics
    of the others, as a new face is: a threshold that was set on faces of the same source or person is lax.

    Parameters
    ----------
    model : decides where the parts of a face are
    faces : N faces that nothing covers
    groups : the source of each, or the person that it shows; taken together to ten groups if there are
        more, and N different ones if that is not said
    learnt : (N,) of bool: those that the reference statistics are fitted on, all if that is not said; the
        others, such as blurred ones, are judged alone

    Returns
    -------
    Part of the face, see `plqlite.regions.region_z_scores` -> z-score below 0; with fewer than 20 faces to
    learn from −3.

    Examples
    --------
    >>> import plqlite
    >>> few = Measurements(*torch.rand(3, 9), maps_of(torch.rand(9, 112, 112)))
    >>> fit_alarms(plqlite.sface(), few)["nose"]
    -3.0
    """
    count = len(faces.quality)
    groups = range(count) if groups is None else groups
    learnt = torch.ones(count, dtype=torch.bool) if learnt is None else learnt
    if learnt.sum() < FEWEST:
        return ALARMS
    number = {group: index % 10 for index, group in enumerate(dict.fromkeys(groups))}
    group, z = torch.tensor([number[each] for each in groups]), torch.zeros(count, len(ALARMS))
    for own in (group == each for each in group.unique()):
        reference = fit_reference_statistics(rows_of(faces, learnt & ~own))
        scores = region_z_scores(deviation(rows_of(faces, own).maps, reference, model.size), model)
        z[own] = torch.stack(list(scores.values()), dim=1).cpu()  # (n, 9)
    rare = z.quantile(0.02, dim=0).clamp_max(-0.1)  # (9,)
    furthest = (z / rare).amax(dim=1)  # (N,), of the part that comes nearest to its alarm
    alarms = rare * furthest.quantile(1 - FALSE_ALARMS)
    return {name: round(value, 2) for name, value in zip(ALARMS, alarms.tolist(), strict=True)}


def rows_of(measurements: Measurements, rows: torch.Tensor) -> Measurements:
    """Return the measurements of some of N images, chosen by (N,) of bool."""
    quality, centre, background = (each[rows] for each in measurements[:3])
    maps = {name: each[rows] for name, each in measurements.maps.items()}
    return Measurements(quality, centre, background, maps)


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
    >>> measure(model, plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).maps["level"].shape
    torch.Size([1, 28, 28])
    """
    plain = copy.copy(model)
    plain.scaling = Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out: Ŝ is proportional to Q̂
    plain.reference_statistics = None
    explanation = explain(plain, images)
    per_quality = explanation.saliency / explanation.scaled_quality[:, None, None]  # (B, H, W)
    maps = maps_of(per_quality, explanation.signal, explanation.noise)
    return Measurements(explanation.quality, *centre_and_background(per_quality), maps)


def joined(batches: Iterable[Measurements]) -> Measurements:
    """Put the measurements of several batches into one, on the CPU.

    Examples
    --------
    >>> one = Measurements(*torch.rand(3, 1), maps_of(torch.rand(1, 112, 112)))
    >>> len(joined([one, one]).quality)
    2
    """
    *values, maps = zip(*batches, strict=True)
    quality, centre, background = (torch.cat(each).cpu() for each in values)
    together = {name: torch.cat([each[name] for each in maps]).cpu() for name in maps[0]}
    return Measurements(quality, centre, background, together)
