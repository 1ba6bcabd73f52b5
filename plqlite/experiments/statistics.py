"""What a perturbation does to the quality (Eq. 8) and to the PLQ map (Eq. 9), and how certain that is."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from plqlite.explanation import Explanation


def quality_change(clean: Explanation, perturbed: Explanation) -> torch.Tensor:
    """Return how much quality a perturbation costs (Eq. 8): Δ_Q̂ = Q̂(I) − Q̂(I_m).

    Parameters
    ----------
    clean, perturbed : of the same B images, by one model with one seed, so that both were measured with the
        same dropout masks

    Returns
    -------
    (B,), −1..1; positive where the perturbation does harm.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> clean, perturbed = (SimpleNamespace(scaled_quality=torch.tensor([q])) for q in (0.75, 0.25))
    >>> quality_change(clean, perturbed)
    tensor([0.5000])
    """
    return clean.scaled_quality - perturbed.scaled_quality


def pixel_change(clean: Explanation, perturbed: Explanation, masks: torch.Tensor) -> torch.Tensor:
    """Return how much the quality of some pixels falls (Eq. 9): the mean of P(I) − P(I_m) over each mask.

    Parameters
    ----------
    clean, perturbed : see `quality_change`
    masks : (B, H, W) of bool, what was covered; at least one pixel each

    Returns
    -------
    Δ_p, (B,), −1..1; positive where the map shows the perturbation.

    Raises
    ------
    ValueError
        A mask is empty.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> clean, perturbed = (SimpleNamespace(plq=torch.tensor([[[p, 0.5]]])) for p in (1.0, 0.25))
    >>> pixel_change(clean, perturbed, torch.tensor([[[True, False]]]))
    tensor([0.7500])
    """
    covered = masks.sum((1, 2))  # (B,)
    if (covered == 0).any():
        raise ValueError(f"{(covered == 0).sum()} of {len(masks)} masks are empty: leave those images out.")
    return ((clean.plq - perturbed.plq) * masks).sum((1, 2)) / covered


def localisation_auc(plq: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the chance that a covered pixel has a lower P than one that is not covered.

    This is the area under the ROC curve of 1 − P as a detector of the mask: 1 if the map finds every covered
    pixel, 0.5 if it knows nothing of the mask. Only the order of the pixels counts: Q̂, α, r and γ have no
    influence.

    Parameters
    ----------
    plq : (H, W), P or the saliency Ŝ: Eq. 6 keeps the order, but rounds P to 1 where Ŝ is very large
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
        raise ValueError(
            f"The mask covers {mask.sum()} of {mask.numel()} pixels, so there is nothing to find: give a "
            "mask of a part of the image."
        )
    return float(roc_auc_score(mask.flatten().cpu(), -plq.flatten().cpu()))


def ascending(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the order that sorts values (N,); equal ones are in random order.

    Examples
    --------
    >>> ascending(np.array([0.5, 0.1, 0.9])).tolist()
    [1, 0, 2]
    """
    return np.lexsort((np.random.default_rng(seed).permutation(len(values)), values))


class Estimate(NamedTuple):
    """A mean of N values, with its 95 % interval."""

    mean: float
    low: float
    high: float
    count: int  # type: ignore[assignment]  # hides the method of tuples


def mean_over_identities(values: ArrayLike, identities: ArrayLike, seed: int = 0) -> Estimate:
    """Return the mean of some values, with a bootstrap interval over identities.

    Photos of one subject are alike. So subjects are drawn, with replacement, and each brings all of their
    values.

    Parameters
    ----------
    values : (N,), such as Δ_p
    identities : (N,), the subject that each value belongs to
    seed : of the bootstrap

    Returns
    -------
    Estimate; one identity alone says nothing about others, and the bounds are NaN.

    Raises
    ------
    ValueError
        No values, values that are NaN, or another number of identities.

    Examples
    --------
    >>> estimate = mean_over_identities([0.25, 0.25, 0.625], ["ada", "ada", "bob"])
    >>> estimate.mean, estimate.low, estimate.high, estimate.count
    (0.375, 0.25, 0.625, 3)
    """
    numbers = np.asarray(values, dtype=float)
    subjects, index = np.unique(np.asarray(identities), return_inverse=True)
    if not numbers.size or numbers.size != index.size:
        raise ValueError(
            f"{numbers.size} values of {index.size} identities: give one identity for each value."
        )
    if np.isnan(numbers).any():
        raise ValueError(f"{np.isnan(numbers).sum()} of {numbers.size} values are NaN: leave those rows out.")
    low = high = np.nan
    if len(subjects) > 1:
        totals = np.bincount(index, weights=numbers)  # (S,), of each subject
        low, high = _interval(totals, np.bincount(index), seed)
    return Estimate(numbers.mean().item(), low, high, numbers.size)


def _interval(totals: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean, given total and number of values of each subject."""
    low, high = bootstrap(
        (totals, counts),
        lambda total, count, axis: total.sum(axis) / count.sum(axis),
        paired=True,
        method="percentile",
        batch=100,  # saves memory with thousands of subjects
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(low), float(high)


def share_positive(values: ArrayLike, identities: ArrayLike, seed: int = 0) -> Estimate:
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
    numbers = np.asarray(values, dtype=float)
    return mean_over_identities(np.where(np.isnan(numbers), np.nan, numbers > 0), identities, seed)
