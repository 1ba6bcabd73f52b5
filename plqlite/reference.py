"""Where a face differs from clean faces: z-scores of its maps against reference statistics."""

import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from plqlite.calibration import Measurements, ReferenceStatistics, Statistic

GRID = 28  # of `relative_level` and of the deviation: what an image of 112 pixels can resolve
FINE = 7  # cells in a row, from which on they count as much as the level: ArcFace's networks have 7


def relative_level(saliency: torch.Tensor) -> torch.Tensor:
    """Return where a map is high and low, whatever its level: log Ŝ on a coarse grid.

    The level is taken relative to the mean of the higher half of the grid, which an occluder hardly moves.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ

    Returns
    -------
    (B, 28, 28), the same for every image size.

    Examples
    --------
    >>> relative_level(torch.rand(1, 112, 112)).shape
    torch.Size([1, 28, 28])
    """
    coarse = adaptive_avg_pool2d(saliency[:, None], GRID)  # (B, 1, 28, 28)
    for _ in range(2):  # single pixels are noisy
        coarse = avg_pool2d(coarse, 3, stride=1, padding=1, count_include_pad=False)
    level = coarse[:, 0].clamp_min(1e-30).log()  # (B, 28, 28)
    return level - mean_of_higher_half(level)[:, None, None]


def mean_of_higher_half(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of the higher half of each map, (B, H, W) -> (B,): of what nothing covers.

    Examples
    --------
    >>> mean_of_higher_half(torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]))
    tensor([4.])
    """
    ranked = values.flatten(1).sort(dim=1).values  # (B, H·W)
    return ranked[:, ranked.shape[1] // 2 :].mean(dim=1)


def maps_of(
    saliency: torch.Tensor, signal: torch.Tensor | None = None, noise: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Collect the maps of B faces that are held against reference statistics.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ
    signal, noise : (B, h, w), see `plqlite.evidence.signal_and_noise`; None for a network without cells

    Returns
    -------
    "level" -> (B, 28, 28), see `relative_level`; "signal" and "noise", where they are known.

    Examples
    --------
    >>> list(maps_of(torch.rand(1, 112, 112)))
    ['level']
    """
    maps = {"level": relative_level(saliency), "signal": signal, "noise": noise}
    return {name: values for name, values in maps.items() if values is not None}


def fit_reference_statistics(clean: Measurements) -> ReferenceStatistics:
    """Learn how clean faces look to a model.

    Parameters
    ----------
    clean : of N faces without occluders, a hundred or more

    Returns
    -------
    ReferenceStatistics, to be assigned: model.reference_statistics = …

    Raises
    ------
    ValueError
        Fewer than two faces.

    Examples
    --------
    >>> measurements = Measurements(*torch.rand(3, 10), maps_of(torch.rand(10, 112, 112)))
    >>> fit_reference_statistics(measurements).maps["level"].mean.shape
    torch.Size([28, 28])
    """
    count = len(clean.quality)
    if count < 2:
        raise ValueError(f"{count} faces: reference statistics take at least 2, better a hundred.")
    maps = {name: values.cpu() for name, values in clean.maps.items()}
    statistics = {name: _statistic(values) for name, values in maps.items()}
    statistics["combined"] = _statistic(_combined(maps, statistics))
    levels = torch.linspace(0, 1, 101, dtype=torch.float64)
    percentiles = clean.quality.cpu().double().quantile(levels).float()
    return ReferenceStatistics(statistics, percentiles)


def _statistic(values: torch.Tensor) -> Statistic:
    """Return mean and standard deviation of (N, h, w); the latter is drawn towards its mean over places.

    A place that happens to vary little in the N faces would otherwise raise an alarm in the next one.
    """
    std = values.std(0)  # (h, w)
    return Statistic(values.mean(0), (0.7 * std + 0.3 * std.mean()).clamp_min(1e-12))


def _combined(maps: dict[str, torch.Tensor], statistics: dict[str, Statistic]) -> torch.Tensor:
    """Return the weighted mean of the z-scores of several maps, (B, 28, 28), relative to the whole face.

    A coarse map counts less, since its places are wide. Half of the level of the higher half is taken off:
    a photo that is low everywhere, such as a blurred one, is not low in a place.
    """
    z = _z_scores(maps, statistics)
    weights = {name: min(1.0, values.shape[-1] / FINE) for name, values in maps.items()}
    mean = sum((weights[name] * z[name] for name in maps), torch.zeros(())) / sum(weights.values())
    return mean - mean_of_higher_half(mean)[:, None, None] / 2


def _z_scores(maps: dict[str, torch.Tensor], statistics: dict[str, Statistic]) -> dict[str, torch.Tensor]:
    """Return the z-score of each map against its own statistics, name -> (B, 28, 28)."""
    found = {}
    for name, values in maps.items():
        mean, std = (each.to(values) for each in statistics[name])
        found[name] = interpolate(((values - mean) / std)[:, None], (GRID, GRID), mode="bilinear")[:, 0]
    return found


def deviation(maps: dict[str, torch.Tensor], reference: ReferenceStatistics, size: int) -> torch.Tensor:
    """Return how far faces are from clean ones at each place, in their standard deviations.

    Every map is low at the cheeks: what matters is whether it is lower than in clean faces *there*. Level,
    signal and noise are three witnesses of one thing; the mean of their z-scores is a better one, and is
    held against that of clean faces in turn.

    Parameters
    ----------
    maps : of B faces, see `maps_of`; those that the reference statistics lack do not count
    reference : `model.reference_statistics`, of the same model
    size : height and width of the result

    Returns
    -------
    (B, size, size), a z-score; negative where lower than clean faces.

    Examples
    --------
    >>> measurements = Measurements(*torch.rand(3, 10), maps_of(torch.rand(10, 112, 112)))
    >>> deviation(measurements.maps, fit_reference_statistics(measurements), size=112).shape
    torch.Size([10, 112, 112])
    """
    known = {name: values for name, values in maps.items() if name in reference.maps}
    z = _combined(known, reference.maps)  # (B, 28, 28)
    if "combined" in reference.maps:  # statistics that version 0.1 saved have the level alone
        statistic = reference.maps["combined"]
        z = (z - statistic.mean.to(z)) / statistic.std.to(z)
    return interpolate(z[:, None], (size, size), mode="bilinear")[:, 0]
