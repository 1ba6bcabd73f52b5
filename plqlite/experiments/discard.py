"""Error versus discard: whether a quality score knows on which photos a network fails.

Leave out the comparisons of the lowest quality, and count the false non-matches among those that remain: the
better the score, the faster the error falls (Grother & Tabassi 2007; ISO/IEC 29794-1).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_curve

from plqlite.experiments.statistics import Estimate, ascending

SHARES = np.linspace(0, 0.5, 51)  # of the genuine pairs that are left out
LIMITS = (0.05, 0.2, 0.5)  # of the partial areas


class Pairs(NamedTuple):
    """Comparisons of N images, two at a time."""

    first: np.ndarray  # (P,), which image
    second: np.ndarray  # (P,), which other one
    score: np.ndarray  # (P,), comparison score: the cosine of the two embeddings
    genuine: np.ndarray  # (P,) of bool: two photos of one subject
    subject: np.ndarray  # (P,), whom the first image shows


def all_pairs(embeddings: torch.Tensor, subjects: Sequence[str], photos: Sequence[str]) -> Pairs:
    """Compare every image with every other one, but for two versions of one photo.

    Parameters
    ----------
    embeddings : (N, d), L2-normalised
    subjects : (N,), whom each image shows
    photos : (N,), the photo that each image is a version of

    Returns
    -------
    Pairs, genuine and impostor, each once.

    Examples
    --------
    >>> pairs = all_pairs(torch.eye(4), ["ada", "ada", "ada", "bob"], ["1", "1", "2", "3"])
    >>> len(pairs.score), int(pairs.genuine.sum())
    (5, 2)
    """
    subject, photo = (np.unique(np.asarray(each), return_inverse=True)[1] for each in (subjects, photos))
    first, second = np.triu_indices(len(subject), k=1)
    kept = photo[first] != photo[second]
    first, second = first[kept], second[kept]
    cosine = (embeddings @ embeddings.T).cpu().double().numpy()
    names = np.asarray(subjects)[first]
    return Pairs(first, second, cosine[first, second], subject[first] == subject[second], names)


def threshold_at(impostor_scores: np.ndarray, fmr: float) -> float:
    """Return the comparison score from which on two images match, so that at most `fmr` of impostors do.

    Parameters
    ----------
    impostor_scores : (P,)
    fmr : false match rate, 0..1

    Raises
    ------
    ValueError
        So few pairs that one of them alone is more than `fmr`.

    Examples
    --------
    >>> threshold_at(np.array([0.1, 0.2, 0.3, 0.4]), fmr=0.25) > 0.3
    True
    """
    if len(impostor_scores) * fmr < 1:
        raise ValueError(
            f"{len(impostor_scores)} impostor pairs do not reach a false match rate of {fmr:g}: it takes "
            f"{int(np.ceil(1 / fmr))} or more."
        )
    allowed = int(len(impostor_scores) * fmr + 1e-9)  # pairs that may match
    return float(np.nextafter(np.sort(impostor_scores)[::-1][allowed], np.inf))


def equal_error_threshold(pairs: Pairs) -> float:
    """Return the comparison score at which as many impostors match as genuine pairs do not (EER).

    Examples
    --------
    >>> pairs = all_pairs(torch.eye(4), ["ada", "ada", "bob", "bob"], list("1234"))
    >>> genuine = np.where(pairs.genuine, 0.8, 0.2)
    >>> equal_error_threshold(pairs._replace(score=genuine))
    0.8
    """
    fmr, matched, thresholds = roc_curve(pairs.genuine, pairs.score, drop_intermediate=False)
    return float(thresholds[np.abs(fmr - (1 - matched)).argmin()])


def pair_quality(pairs: Pairs, quality: np.ndarray) -> np.ndarray:
    """Return the quality of each pair, (P,): the lower one of its two images, (N,).

    Examples
    --------
    >>> pairs = all_pairs(torch.eye(2), ["ada", "bob"], ["1", "2"])
    >>> pair_quality(pairs, np.array([0.9, 0.4]))
    array([0.4])
    """
    return np.minimum(quality[pairs.first], quality[pairs.second])


def error_versus_discard(
    pairs: Pairs,
    quality: np.ndarray,
    fmr: float,
    threshold: float | None = None,
    shares: np.ndarray = SHARES,
    seed: int = 0,
) -> pd.DataFrame:
    """Leave out the genuine pairs of the lowest quality, and count the errors of the others.

    Parameters
    ----------
    pairs : of N images
    quality : (N,), higher is better; only its order counts
    fmr : false match rate
    threshold : from which comparison score on two images match, such as that of a clean set; None: chosen
        anew at each share, on the impostor pairs that are not worse than the genuine ones that are left
    shares : of the genuine pairs that are left out, 0..1
    seed : pairs of equal quality are left out in random order

    Returns
    -------
    A row for each share: `discarded`, `fnmr`, `left` (genuine pairs), `threshold`.

    Raises
    ------
    ValueError
        A quality is NaN; too few impostor pairs, see `threshold_at`.

    Examples
    --------
    >>> pairs = all_pairs(torch.eye(4), ["ada", "ada", "ada", "bob"], list("1234"))
    >>> rows = error_versus_discard(pairs, np.arange(4.0), fmr=0.5, threshold=0.5, shares=[0.0, 0.5])
    >>> rows[["fnmr", "left"]].to_numpy().tolist()
    [[1.0, 3.0], [1.0, 2.0]]
    """
    quality = np.asarray(quality, dtype=float)
    if np.isnan(quality).any():
        raise ValueError(f"{np.isnan(quality).sum()} of {quality.size} qualities are NaN: leave those out.")
    of_pairs = pair_quality(pairs, quality)
    order = ascending(of_pairs[pairs.genuine], seed)
    scores, worst_first = pairs.score[pairs.genuine][order], of_pairs[pairs.genuine][order]
    impostors, their_quality = pairs.score[~pairs.genuine], of_pairs[~pairs.genuine]
    rows = []
    for share in shares:
        out = int(share * len(scores) + 1e-9)
        if out == len(scores):
            break
        kept = their_quality >= worst_first[out]
        limit = threshold_at(impostors[kept], fmr) if threshold is None else threshold
        rows.append((share, float((scores[out:] < limit).mean()), len(scores) - out, limit))
    return pd.DataFrame(rows, columns=["discarded", "fnmr", "left", "threshold"])


def partial_area(
    pairs: Pairs, quality: np.ndarray, threshold: float, limit: float, seed: int = 0, draws: int = 1000
) -> Estimate:
    """Return the mean FNMR over all shares up to a limit, as a part of that without discarding.

    1: the score knows nothing; lower is better. The threshold is fixed. The interval is a bootstrap over
    subjects, each of whom brings all genuine pairs.

    Parameters
    ----------
    pairs, quality, threshold, seed : see `error_versus_discard`
    limit : of the share of genuine pairs that are left out, in (0, 1)
    draws : of the bootstrap

    Returns
    -------
    Estimate; its count is that of the genuine pairs. NaN if there is no error to avoid.

    Examples
    --------
    >>> angles = torch.tensor([0.0, 0.1, 0.2, 2.0, 2.1, 2.2, 3.6])
    >>> embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    >>> pairs = all_pairs(embeddings, list("aaabbba"), list("1234567"))
    >>> print(f"{partial_area(pairs, np.array([1, 1, 1, 1, 1, 1, 0.0]), threshold=0.9, limit=0.6).mean:.2f}")
    0.41
    """
    of_pairs = pair_quality(pairs, np.asarray(quality, dtype=float))[pairs.genuine]
    order = ascending(of_pairs, seed)
    wrong = (pairs.score[pairs.genuine] < threshold)[order]
    subjects, index = np.unique(pairs.subject[pairs.genuine][order], return_inverse=True)
    mean = _area(wrong, np.ones(len(wrong)), limit)
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws if len(subjects) > 1 else 0):
        times = np.bincount(rng.integers(len(subjects), size=len(subjects)), minlength=len(subjects))
        found.append(_area(wrong, times[index].astype(float), limit))
    found = [each for each in found if not np.isnan(each)]  # draws without any error
    low, high = np.quantile(found, [0.025, 0.975]) if found else (np.nan, np.nan)
    return Estimate(mean, float(low), float(high), len(wrong))


def random_area(pairs: Pairs, threshold: float, limit: float, seed: int = 0, draws: int = 1000) -> Estimate:
    """Return the partial area of scores drawn at random: their mean, and between what 95 % of them are.

    1 on average; the interval is how far luck gets with these pairs.

    Parameters
    ----------
    pairs, threshold, limit : see `partial_area`
    seed : of the scores
    draws : how many scores

    Examples
    --------
    >>> angles = torch.tensor([0.0, 0.1, 0.2, 2.0, 2.1, 2.2, 3.6])
    >>> embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    >>> pairs = all_pairs(embeddings, list("aaabbba"), list("1234567"))
    >>> 0.8 < random_area(pairs, threshold=0.9, limit=0.5, draws=100).mean < 1.2
    True
    """
    rng, images = np.random.default_rng(seed), 1 + max(pairs.second)
    scores = (rng.random(images) for _ in range(draws))
    found = [partial_area(pairs, score, threshold, limit, draws=0).mean for score in scores]
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(np.mean(found)), float(low), float(high), int(pairs.genuine.sum()))


def _area(wrong: np.ndarray, weight: np.ndarray, limit: float) -> float:
    """Return the mean over shares 0..limit of the FNMR, relative to its first value; pairs, worst first."""
    total, errors = weight.sum(), (weight * wrong).sum()
    if not errors:
        return np.nan
    left = total - np.concatenate([[0.0], np.cumsum(weight)])  # weight of the pairs from here on
    remaining = errors - np.concatenate([[0.0], np.cumsum(weight * wrong)])
    shares = np.linspace(0, limit, 101)
    places = np.searchsorted(total - left, shares * total, side="right") - 1
    places = np.minimum(places, np.flatnonzero(left > 1e-9).max())
    return float((remaining[places] / left[places]).mean() / (errors / total))
