"""The constants of a model: α and r of Eq. 2, γ of Eq. 6, reference statistics; fitted, written and read."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from plqlite.files import write_aside
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import fit_gamma


@dataclass(frozen=True)
class Scaling:
    """Constants that belong to one model: α and r of Eq. 2, γ of Eq. 6, and where they come from."""

    alpha: float
    r: float
    gamma: float
    provenance: str = ""


class ReferenceStatistics(NamedTuple):
    """How clean faces look to one model: what `plqlite.regions.deviation` and `advise` compare with."""

    level_mean: torch.Tensor  # (28, 28), of `plqlite.regions.relative_level`
    level_std: torch.Tensor  # (28, 28)
    region_mean: torch.Tensor  # (8,), of `plqlite.regions.region_levels`
    region_std: torch.Tensor  # (8,)
    quality_percentiles: torch.Tensor  # (101,), of Q


SHAPES = [(28, 28), (28, 28), (8,), (8,), (101,)]  # of its fields
DIGITS = {"level_mean": 2, "level_std": 2, "region_mean": 3, "region_std": 3, "quality_percentiles": 5}
NAMES_BEFORE_0_2 = ("mean", "spread", "region_mean", "region_spread", "quality")  # under "usual"


class Measurements(NamedTuple):
    """What the constants of a model are fitted on, of N images; see `plqlite.development.measure`."""

    quality: torch.Tensor  # Q, (N,)
    centre: torch.Tensor  # Ŝ of the face's centre per unit of Q̂, (N,)
    background: torch.Tensor  # and of the background, (N,)
    level: torch.Tensor  # `relative_level`, (N, 28, 28)
    regions: torch.Tensor  # `region_levels`, (N, 8)


def fit(
    quality: torch.Tensor, centre: torch.Tensor, background: torch.Tensor, provenance: str = ""
) -> Scaling:
    """Fit α and r on all images, and γ on the better half, which stands in for ICAO-compliant faces.

    Parameters
    ----------
    quality, centre, background : (N,) each, see `Measurements`
    provenance : where they come from, in words

    Raises
    ------
    ValueError
        See `fit_scaling` and `fit_gamma`.

    Examples
    --------
    >>> fit(torch.tensor([0.88, 0.90]), torch.tensor([4e-5, 4e-5]), torch.tensor([1e-5, 1e-5])).r
    0.89
    """
    alpha, r = fit_scaling(quality)
    scaled = scale_quality(quality, alpha, r)
    good = quality >= quality.median()
    gamma = fit_gamma((centre * scaled)[good], (background * scaled)[good])
    return Scaling(round(alpha, 1), round(r, 4), round(gamma, 2), provenance)


def fit_reference_statistics(measurements: Measurements) -> ReferenceStatistics:
    """Learn how clean faces look to a model.

    Parameters
    ----------
    measurements : of N faces without occluders, a hundred or more

    Returns
    -------
    ReferenceStatistics, to be assigned: model.reference_statistics = …

    Raises
    ------
    ValueError
        Fewer than two faces.

    Examples
    --------
    >>> measurements = Measurements(*torch.rand(3, 10), torch.rand(10, 28, 28), torch.rand(10, 8))
    >>> fit_reference_statistics(measurements).region_mean.shape
    torch.Size([8])
    """
    count = len(measurements.quality)
    if count < 2:
        raise ValueError(f"{count} faces: reference statistics take at least 2, better a hundred.")
    quality, _, _, level, regions = (each.cpu() for each in measurements)
    percentiles = quality.double().quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    level_std, region_std = level.std(0).clamp_min(0.01), regions.std(0).clamp_min(0.001)  # never 0
    return ReferenceStatistics(level.mean(0), level_std, regions.mean(0), region_std, percentiles.float())


def to_json(scaling: Scaling, reference_statistics: ReferenceStatistics | None = None) -> dict:
    """Turn the constants of a model into what a JSON file can hold, and `from_json` reads.

    Examples
    --------
    >>> to_json(Scaling(279.3, 0.8987, 10.8))
    {'alpha': 279.3, 'r': 0.8987, 'gamma': 10.8, 'provenance': ''}
    """
    if reference_statistics is None:
        return asdict(scaling)
    rounded = {
        name: value.double().round(decimals=DIGITS[name]).tolist()
        for name, value in reference_statistics._asdict().items()
    }
    return asdict(scaling) | {"reference_statistics": rounded}


def from_json(entry: dict) -> tuple[Scaling, ReferenceStatistics | None]:
    """Read what `to_json` has made, or version 0.1, which wrote other names.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is something else, or a value cannot be right.

    Examples
    --------
    >>> from_json({"alpha": 279.3, "r": 0.8987, "gamma": 10.8})[0].gamma
    10.8
    """
    entry = dict(entry)
    names, values = ReferenceStatistics._fields, entry.pop("reference_statistics", None)
    if "usual" in entry:
        names, values = NAMES_BEFORE_0_2, entry.pop("usual")
    scaling = Scaling(**entry)
    if not all(math.isfinite(each) for each in (scaling.alpha, scaling.r, scaling.gamma)):
        raise ValueError("a constant is not a finite number")
    if values is None:
        return scaling, None
    statistics = ReferenceStatistics(*(torch.tensor(values[name], dtype=torch.float32) for name in names))
    _check(statistics)
    return scaling, statistics


def _check(statistics: ReferenceStatistics) -> None:
    """Refuse reference statistics that cannot be right."""
    if [tuple(each.shape) for each in statistics] != SHAPES:
        raise ValueError("the reference statistics do not have 28×28, 8 and 101 numbers")
    if not statistics.level_std.min() > 0 or not statistics.region_std.min() > 0:
        raise ValueError("a standard deviation is not above 0")
    if not all(each.isfinite().all() for each in statistics):
        raise ValueError("a reference statistic is not finite")
    if (statistics.quality_percentiles.diff() < 0).any():
        raise ValueError("the percentiles of Q fall")


def save_calibration(
    path: Path, scaling: Scaling, reference_statistics: ReferenceStatistics | None, fitted_for: dict
) -> None:
    """Write a model's constants to a file.

    Parameters
    ----------
    path : of the file, see `FaceModel.calibration_file`
    scaling, reference_statistics : of the model
    fitted_for : what they depend on, `FaceModel.identity`

    Raises
    ------
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "net.scaling.json")
    >>> save_calibration(path, Scaling(279.3, 0.8987, 10.8), None, {"split": "fc"})
    >>> load_calibration(path)[2]
    {'split': 'fc'}
    """
    saved = {"scaling": to_json(scaling, reference_statistics), "model": fitted_for}
    write_aside(path, lambda file: file.write((json.dumps(saved) + "\n").encode()))


def load_calibration(path: Path) -> tuple[Scaling, ReferenceStatistics | None, dict]:
    """Read what `save_calibration` has written: constants, and what they were fitted for.

    Raises
    ------
    ValueError
        The file is damaged.

    Examples
    --------
    See `save_calibration`.
    """
    try:
        saved = json.loads(path.read_text("utf-8"))
        scaling, reference_statistics = from_json(saved["scaling"])
        return scaling, reference_statistics, saved["model"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and calibrate again.") from error
