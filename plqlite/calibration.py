"""The constants of a model: α and r of Eq. 2, γ of Eq. 6, reference statistics; fitted, written and read."""

import json
import math
import warnings
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import torch

from plqlite.faces import BOTH_EYES, REGIONS
from plqlite.files import require_file, write_text
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import fit_gamma


@dataclass(frozen=True)
class Scaling:
    """Constants that belong to one model: α and r of Eq. 2, γ of Eq. 6, and where they come from.

    Raises
    ------
    ValueError
        A constant is no finite number, or γ is beyond ±100, where Eq. 6 leaves the range of floats.
    """

    alpha: float
    r: float
    gamma: float
    provenance: str = ""

    def __post_init__(self) -> None:
        constants = self.alpha, self.r, self.gamma
        if not all(isinstance(each, Real) and math.isfinite(each) for each in constants):
            raise ValueError(f"α, r, γ = {constants}: each constant is a finite number.")
        if abs(self.gamma) > 100:
            raise ValueError(f"γ = {self.gamma}: choose one between -100 and 100; 5 to 20 is usual.")


ALARMS = dict.fromkeys((*REGIONS, BOTH_EYES), -3.0)  # where none are fitted


class Statistic(NamedTuple):
    """Mean and standard deviation over clean faces, place by place: (h, w) each."""

    mean: torch.Tensor
    std: torch.Tensor


class ReferenceStatistics(NamedTuple):
    """How clean faces look to one model: what `plqlite.reference.deviation` and `advise` compare with."""

    maps: dict[str, Statistic]  # of `plqlite.reference.maps_of`, and of "combined", what they give together
    quality_percentiles: torch.Tensor  # (101,), of Q
    alarms: dict[str, float] = ALARMS  # a part of a face is named if its z-score is below


STEEPEST = 3000  # α of qualities within 0.001 of their mean: less than the noise of a hundred passes
OLDEST_NAMES = ("mean", "spread", "quality")  # version 0.1, under "usual"


class Measurements(NamedTuple):
    """What the constants of a model are fitted on, of N images; see `plqlite.development.measure`."""

    quality: torch.Tensor  # Q, (N,)
    centre: torch.Tensor  # Ŝ of the face's centre per unit of Q̂, (N,)
    background: torch.Tensor  # and of the background, (N,)
    maps: dict[str, torch.Tensor]  # `plqlite.reference.maps_of`, (N, h, w) each


def fit(
    quality: torch.Tensor,
    centre: torch.Tensor,
    background: torch.Tensor,
    provenance: str = "",
    degraded: torch.Tensor | None = None,
) -> Scaling:
    """Fit α and r on all images, and γ on the better half of the clean ones, as if these were compliant.

    Parameters
    ----------
    quality, centre, background : (N,) each, of clean faces, see `Measurements`
    provenance : where they come from, in words
    degraded : (M,) quality Q of degraded versions, which count for α and r as much as the clean faces

    Raises
    ------
    ValueError
        See `fit_scaling` and `fit_gamma`.

    Warns
    -----
    UserWarning
        The qualities are nearer to each other than a hundred passes can tell, as those of one photo are.

    Examples
    --------
    >>> fit(torch.tensor([0.88, 0.90]), torch.tensor([4e-5, 4e-5]), torch.tensor([1e-5, 1e-5])).r
    0.89
    """
    alpha, r = fit_scaling(quality if degraded is None else torch.cat([quality, degraded]))
    if alpha > STEEPEST:
        text = f"α = {alpha:.0f}: nearly all of these faces have one quality, as copies of one photo have."
        warnings.warn(text, stacklevel=3)
    scaled = scale_quality(quality, alpha, r)
    good = quality >= quality.median()
    gamma = fit_gamma((centre * scaled)[good], (background * scaled)[good])
    return Scaling(round(alpha, 1), round(r, 4), round(gamma, 2), provenance)


def to_json(scaling: Scaling, reference_statistics: ReferenceStatistics | None = None) -> dict:
    """Turn the constants of a model into what a JSON file can hold, and `from_json` reads.

    Examples
    --------
    >>> to_json(Scaling(279.3, 0.8987, 10.8))
    {'alpha': 279.3, 'r': 0.8987, 'gamma': 10.8, 'provenance': ''}
    """
    if reference_statistics is None:
        return asdict(scaling)
    maps, percentiles, alarms = reference_statistics
    entry = {
        "maps": {
            name: {key: _rounded(each) for key, each in pair._asdict().items()} for name, pair in maps.items()
        },
        "quality_percentiles": _rounded(percentiles),
        "alarms": alarms,
    }
    return asdict(scaling) | {"reference_statistics": entry}


def _rounded(values: torch.Tensor) -> list:
    """Return numbers with five significant digits."""
    digits = [float(f"{value:.5g}") for value in values.flatten().tolist()]
    return torch.tensor(digits, dtype=torch.float64).view(values.shape).tolist()


def from_json(entry: dict) -> tuple[Scaling, ReferenceStatistics | None]:
    """Read what `to_json` has made, or an earlier version, which wrote other names.

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
    statistics = entry.pop("usual", None) or entry.pop("reference_statistics", None)
    scaling = Scaling(**entry)
    if statistics is None:
        return scaling, None
    return scaling, _statistics(statistics if "maps" in statistics else _renamed(statistics))


def _renamed(old: dict) -> dict:
    """Translate reference statistics that earlier versions saved: these had the level alone."""
    names = ("level_mean", "level_std", "quality_percentiles") if "level_mean" in old else OLDEST_NAMES
    mean, std, percentiles = (old[name] for name in names)
    level = {"mean": mean, "std": std}
    return {"maps": {"level": level}, "quality_percentiles": percentiles, "alarms": ALARMS}


def _statistics(entry: dict) -> ReferenceStatistics:
    """Read reference statistics, and check them."""
    maps = {
        name: Statistic(_tensor(each["mean"]), _tensor(each["std"])) for name, each in entry["maps"].items()
    }
    statistics = ReferenceStatistics(maps, _tensor(entry["quality_percentiles"]), entry["alarms"])
    _check(statistics)
    return statistics


def _tensor(values: list) -> torch.Tensor:
    """Return numbers of a JSON file as a tensor."""
    return torch.tensor(values, dtype=torch.float32)


def _check(statistics: ReferenceStatistics) -> None:
    """Refuse reference statistics that cannot be right."""
    for name, (mean, std) in statistics.maps.items():
        square = mean.ndim == 2 and 0 < mean.shape[0] == mean.shape[1] and mean.shape == std.shape
        if not square or (name in ("level", "combined") and len(mean) != 28):
            raise ValueError(f"the reference statistics of {name} are not two square grids")
        if not std.min() > 0:
            raise ValueError("a standard deviation is not above 0")
        if not (mean.isfinite().all() and std.isfinite().all()):
            raise ValueError("a reference statistic is not finite")
    percentiles = statistics.quality_percentiles
    if "level" not in statistics.maps or percentiles.shape != (101,):
        raise ValueError("the reference statistics lack the level, or 101 percentiles")
    if not (percentiles.isfinite().all() and (percentiles.diff() >= 0).all()):
        raise ValueError("the percentiles of Q fall, or are not finite")
    alarms = statistics.alarms
    if alarms.keys() != ALARMS.keys() or not all(-math.inf < each < 0 for each in alarms.values()):
        raise ValueError("the alarms are not one number below 0 for each part of a face")


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
    write_text(path, json.dumps(saved) + "\n")


def load_calibration(path: Path) -> tuple[Scaling, ReferenceStatistics | None, dict]:
    """Read what `save_calibration` has written: constants, and what they were fitted for.

    Raises
    ------
    OSError
        It is no file, or cannot be read.
    ValueError
        The file is damaged.

    Examples
    --------
    See `save_calibration`.
    """
    require_file(path)
    try:
        saved = json.loads(path.read_text("utf-8"))
        scaling, reference_statistics = from_json(saved["scaling"])
        return scaling, reference_statistics, saved["model"]
    # What a stranger's JSON may raise: AttributeError where there is a list or null in place of an object.
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and calibrate again.") from error
