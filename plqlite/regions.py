"""Where a PLQ map is low, whatever its level: parts of the face, and deviation from reference statistics."""

import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from plqlite.calibration import ReferenceStatistics
from plqlite.faces import REGIONS
from plqlite.networks.model import FaceModel


def face_regions(model: FaceModel) -> torch.Tensor:
    """Mark where forehead, eyes, nose, cheeks, mouth and chin are in the aligned images of a model.

    Parameters
    ----------
    model : its size and its alignment decide

    Returns
    -------
    (8, size, size) of bool, in the order of `plqlite.faces.REGIONS`.

    Examples
    --------
    >>> import plqlite
    >>> face_regions(plqlite.sface()).shape
    torch.Size([8, 112, 112])
    """
    masks = torch.zeros(len(REGIONS), model.size, model.size, dtype=torch.bool)
    for mask, name in zip(masks, REGIONS, strict=True):
        box = (torch.tensor(model.align.regions[name], dtype=torch.float64) * model.size / 112).round()
        left, top, right, bottom = box.long().clamp(min=0).tolist()
        mask[top:bottom, left:right] = True
    return masks


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
    coarse = adaptive_avg_pool2d(saliency[:, None], 28)  # (B, 1, 28, 28)
    for _ in range(2):  # single pixels are noisy
        coarse = avg_pool2d(coarse, 3, stride=1, padding=1, count_include_pad=False)
    level = coarse[:, 0].clamp_min(1e-30).log()  # (B, 28, 28)
    return level - mean_of_higher_half(level)[:, None, None]


def region_levels(saliency: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Return how high a map is in some regions, whatever its level: the mean of log Ŝ in each.

    The level is taken relative to the mean of the higher half of the map, as in `relative_level`.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ
    regions : (R, H, W) of bool, at least one pixel each

    Returns
    -------
    (B, R)

    Examples
    --------
    >>> whole = torch.ones(1, 4, 4, dtype=torch.bool)
    >>> region_levels(torch.ones(2, 4, 4), whole)
    tensor([[0.],
            [0.]])
    """
    level = saliency.clamp_min(1e-30).log()  # (B, H, W)
    inside = regions.flatten(1).to(level)  # (R, H·W), on the map's device
    mean = level.flatten(1) @ inside.T / inside.sum(1)  # (B, R)
    return mean - mean_of_higher_half(level)[:, None]


def mean_of_higher_half(level: torch.Tensor) -> torch.Tensor:
    """Return the mean of the higher half of each map, (B, H, W) -> (B,): of what nothing covers.

    Examples
    --------
    >>> mean_of_higher_half(torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]))
    tensor([4.])
    """
    ranked = level.flatten(1).sort(dim=1).values  # (B, H·W)
    return ranked[:, ranked.shape[1] // 2 :].mean(dim=1)


def deviation(saliency: torch.Tensor, reference_statistics: ReferenceStatistics) -> torch.Tensor:
    """Return the z-score of a map at each place, against reference statistics of the same model.

    Every map is low at the cheeks: what matters is whether it is lower than in clean faces *there*.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ
    reference_statistics : `model.reference_statistics`

    Returns
    -------
    (B, H, W), in standard deviations of clean faces; negative where the map is lower than theirs.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> deviation(torch.rand(1, 112, 112), model.reference_statistics).shape
    torch.Size([1, 112, 112])
    """
    level = relative_level(saliency)  # (B, 28, 28)
    mean, std = reference_statistics.level_mean.to(level), reference_statistics.level_std.to(level)
    z = (level - mean) / std
    return interpolate(z[:, None], saliency.shape[-2:], mode="bilinear")[:, 0]


def region_z_scores(saliency: torch.Tensor, model: FaceModel) -> dict[str, torch.Tensor]:
    """Return the z-score of each part of a face, against the model's reference statistics.

    Parameters
    ----------
    saliency : (B, size, size), Ŝ of aligned images, by this model
    model : with reference statistics, which SFace and FaceNet have

    Returns
    -------
    Region (see `plqlite.faces.REGIONS`; left is left in the picture) -> z, (B,); below −3 is unusually low.

    Raises
    ------
    ValueError
        The model has no reference statistics.

    Examples
    --------
    >>> import plqlite
    >>> z = region_z_scores(torch.rand(1, 112, 112), plqlite.sface())
    >>> z["mouth"].shape
    torch.Size([1])
    """
    reference = reference_statistics_of(model)
    levels = region_levels(saliency, face_regions(model))  # (B, 8)
    z = (levels - reference.region_mean.to(levels)) / reference.region_std.to(levels)
    return dict(zip(REGIONS, z.T, strict=True))


def reference_statistics_of(model: FaceModel) -> ReferenceStatistics:
    """Return a model's reference statistics, or raise a ValueError that says how to get them.

    Examples
    --------
    >>> import plqlite
    >>> reference_statistics_of(plqlite.sface()).level_mean.shape
    torch.Size([28, 28])
    """
    if model.reference_statistics is None:
        raise ValueError(
            f"{model.name} has no reference statistics to compare with: run data_scripts/calibrate.py, or "
            "set model.reference_statistics = plqlite.calibration.fit_reference_statistics(…)."
        )
    return model.reference_statistics
