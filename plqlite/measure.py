"""What a disturbance does to quality (Eq. 8) and to the map (Eq. 9), and how sure that is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from plqlite.explain import Explanation
from plqlite.faces import REGIONS, face_regions
from plqlite.models import FaceModel, Usual
from plqlite.saliency import region_levels


def quality_change(clean: Explanation, disturbed: Explanation) -> torch.Tensor:
    """Return how much quality a disturbance costs (Eq. 8): Δ_Q̂ = Q̂(I) − Q̂(I_m).

    Parameters
    ----------
    clean, disturbed : of the same B images, by one model with one seed, so that both saw the same
        dropout masks

    Returns
    -------
    (B,), −1..1; positive where the disturbance does harm.

    Examples
    --------
    >>> quality_change(explain(model, images), explain(model, masked))
    """
    return clean.scaled_quality - disturbed.scaled_quality


def pixel_change(clean: Explanation, disturbed: Explanation, masks: torch.Tensor) -> torch.Tensor:
    """Return how much the quality of some pixels falls (Eq. 9): the mean of P(I) − P(I_m) over each mask.

    Parameters
    ----------
    clean, disturbed : see `quality_change`
    masks : (B, H, W) of bool, what was covered; at least one pixel each

    Returns
    -------
    Δ_p, (B,), −1..1; positive where the map shows the disturbance.

    Raises
    ------
    ValueError
        A mask is empty.

    Examples
    --------
    >>> pixel_change(explain(model, images), explain(model, masked), masks)
    """
    covered = masks.sum((1, 2))  # (B,)
    if (covered == 0).any():
        raise ValueError(f"{(covered == 0).sum()} of {len(masks)} masks are empty: leave those images out.")
    return ((clean.plq - disturbed.plq) * masks).sum((1, 2)) / covered


def localisation_auc(plq: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the chance that a covered pixel has a lower P than one that is not covered.

    It is the area under the ROC curve of 1 − P as a detector of the mask: 1 if the map finds every
    covered pixel, 0.5 if it knows nothing of the mask. Only the order of the pixels counts: Q̂, α, r
    and γ have no part in it.

    Parameters
    ----------
    plq : (H, W), P or the saliency Ŝ: Eq. 6 keeps the order, but rounds a very small or large Ŝ away
    mask : (H, W) of bool

    Raises
    ------
    ValueError
        The mask covers nothing or everything.

    Examples
    --------
    >>> localisation_auc(torch.tensor([[0.1, 0.9]]), torch.tensor([[True, False]]))
    1.0
    """
    if not 0 < mask.sum() < mask.numel():
        raise ValueError(f"The mask covers {mask.sum()} of {mask.numel()} pixels: there is nothing to find.")
    return float(roc_auc_score(mask.flatten().cpu(), -plq.flatten().cpu()))


def region_quality(explanation: Explanation, model: FaceModel) -> dict[str, torch.Tensor]:
    """Return how high each part of a face is, in standard deviations from what is usual there.

    Every map is low at the cheeks, and every photo has a level of its own: the mean of log Ŝ in a region is
    taken against the better half of the map, and compared with undisturbed faces.

    Parameters
    ----------
    explanation : of B aligned images, by this model
    model : with `usual`, which SFace and FaceNet bring

    Returns
    -------
    Region (see `plqlite.faces.REGIONS`; left is left in the picture) -> z, (B,); below −3 is unusually low.

    Raises
    ------
    ValueError
        The model does not know what is usual.

    Examples
    --------
    >>> z = region_quality(explain(model, images), model)
    >>> z["mouth"]
    tensor([-4.2])
    """
    usual = usual_of(model)
    levels = region_levels(explanation.saliency, face_regions(model))  # (B, 8)
    z = (levels - usual.region_mean.to(levels)) / usual.region_spread.to(levels)
    return dict(zip(REGIONS, z.T, strict=True))


def usual_of(model: FaceModel) -> Usual:
    """Return what is usual to a model, or raise a ValueError that says how to learn it."""
    if model.usual is None:
        raise ValueError(
            f"{model.name} does not know how undisturbed faces look: run data_scripts/calibrate.py, or set "
            "model.usual = plqlite.calibration.usual_faces(…)."
        )
    return model.usual


class Estimate(NamedTuple):
    """A mean over N values, with its 95 % interval."""

    mean: float
    low: float
    high: float
    count: int


def mean_over_identities(values: Sequence[float], identities: Sequence[str], seed: int = 0) -> Estimate:
    """Return the mean of some values, with a bootstrap interval over identities.

    Photos of one person are alike: people are drawn again and again, each with all that is theirs.

    Parameters
    ----------
    values : (N,), such as Δ_p
    identities : (N,), whose each value is
    seed : chooses the bootstrap's draws

    Returns
    -------
    Estimate; of one identity alone nothing can be said of others, and the bounds are NaN.

    Raises
    ------
    ValueError
        No values, values that are NaN, or not as many identities.

    Examples
    --------
    >>> mean_over_identities([0.1, 0.2, 0.6], ["ada", "ada", "bob"])
    Estimate(mean=0.3, low=0.15, high=0.6, count=3)
    """
    values = np.asarray(values, dtype=float)
    people, index = np.unique(np.asarray(identities), return_inverse=True)
    if not values.size or values.size != index.size:
        raise ValueError(
            f"{values.size} values of {index.size} identities: give one identity for each value."
        )
    if np.isnan(values).any():
        raise ValueError(f"{np.isnan(values).sum()} of {values.size} values are NaN: leave those rows out.")
    totals = np.bincount(index, weights=values)  # (P,) of each person
    counts = np.bincount(index)  # (P,)
    low = high = np.nan
    if len(people) > 1:
        low, high = bootstrap(
            (totals, counts),
            lambda total, count, axis: total.sum(axis) / count.sum(axis),
            paired=True,
            method="percentile",
            batch=100,  # memory for thousands of people
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Estimate(values.mean().item(), float(low), float(high), values.size)


def share_positive(values: Sequence[float], identities: Sequence[str], seed: int = 0) -> Estimate:
    """Return how often a change is positive, with a bootstrap interval over identities.

    Parameters
    ----------
    values, identities, seed : see `mean_over_identities`

    Returns
    -------
    Estimate, 0..1; a change of exactly 0 is not positive.

    Raises
    ------
    ValueError
        See `mean_over_identities`.

    Examples
    --------
    >>> share_positive([0.1, 0.2, -0.1, 0.3], ["ada", "ada", "bob", "cem"]).mean
    0.75
    """
    values = np.asarray(values, dtype=float)
    return mean_over_identities(np.where(np.isnan(values), np.nan, values > 0), identities, seed)
