"""What is wrong with a photo, in words (§5.3): no more than the numbers behind it say."""

from typing import NamedTuple

import numpy as np

from plqlite.calibration import ReferenceStatistics
from plqlite.explanation import Explanation
from plqlite.faces import BOTH_EYES
from plqlite.networks.model import FaceModel
from plqlite.regions import beyond_alarms, reference_statistics_of, region_z_scores

RARE = 1.0  # percent of the development photos with a lower Q


class Meaning(NamedTuple):
    """What it may mean that some regions of a face are unusually low together."""

    regions: tuple[str, ...]  # where all of these are low,
    explains: tuple[str, ...]  # the text speaks for these
    text: str


_LOWER_FACE = ("nose", "left cheek", "right cheek", "mouth", "chin")  # one thing in front of them covers all
_LOWER_FACE_COVERED = "something in front of the lower face, such as a mask, a scarf or a hand"
_LEFT, _RIGHT = ("left eye", "left cheek"), ("right eye", "right cheek")
# The first row that fits takes the regions that it explains.
MEANINGS = (
    Meaning(("mouth", "chin"), _LOWER_FACE, _LOWER_FACE_COVERED),
    Meaning(("nose", "mouth"), _LOWER_FACE, _LOWER_FACE_COVERED),
    Meaning((BOTH_EYES,), (BOTH_EYES,), "glasses, reflections on them, hair, or closed eyes"),
    Meaning(_LEFT, _LEFT, "a turned head, or light, hair or a hand at the left of the picture"),
    Meaning(_RIGHT, _RIGHT, "a turned head, or light, hair or a hand at the right of the picture"),
    Meaning(("forehead",), ("forehead",), "headgear, hair, or a reflection"),
    Meaning(("mouth",), ("mouth",), "a grimace, or something in front of the mouth"),
)
OTHERWISE = "something in front of it, a reflection, or hard light"


class Advice(NamedTuple):
    """What `advise` finds."""

    text: str  # one finding a line
    low: list[str]  # the regions that are unusually low, the most unusual first
    z: dict[str, float]  # of each region, see `plqlite.regions.region_z_scores`
    quality: float  # Q
    percentile: float  # how many percent of the development photos have a lower Q


def advise(model: FaceModel, explanation: Explanation) -> Advice:
    """Say what is unusual about a face photo, and what that may mean.

    Parameters
    ----------
    model : with reference statistics, which SFace and FaceNet have
    explanation : of one image, by this model; with the defaults of `explain`, as the reference statistics
        were measured

    Returns
    -------
    Advice. First the level: is Q lower than that of 99 % of the development photos? Then the places: which
    regions are below their alarms in the model's reference statistics?

    Raises
    ------
    ValueError
        The explanation is of several images, or the model has no reference statistics.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.facenet()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> print(advise(model, plqlite.explain(model, images)).text.split(":")[0])
    Nothing unusual
    """
    if len(explanation.quality) != 1:
        raise ValueError(f"{len(explanation.quality)} images: explain and give advice on one at a time.")
    reference = reference_statistics_of(model)
    if explanation.deviation is None:
        raise ValueError("The explanation was made before the model had reference statistics: explain again.")
    z = {region: value.item() for region, value in region_z_scores(explanation.deviation, model).items()}
    low = beyond_alarms(z, reference.alarms)
    quality = explanation.quality.item()
    percentile = float(percentile_of(quality, reference))
    findings = [
        f"Unusually low: {', '.join(f'{name} ({z[name]:.1f} σ)' for name in regions)}. May be {meaning}."
        for regions, meaning in meanings_of(low)
    ]
    if percentile < RARE:
        findings.insert(0, "Unusually low as a whole: look at focus, light and pose.")
    if not findings:
        lowest = min(z, key=lambda region: z[region])
        findings = [f"Nothing unusual: the lowest region is the {lowest} ({z[lowest]:+.1f} σ)."]
    return Advice("\n".join([*findings, _rank(quality, percentile)]), low, z, quality, percentile)


def percentile_of(quality: float | np.ndarray, reference: ReferenceStatistics) -> np.ndarray:
    """Return how many percent of the development photos have a lower Q.

    Examples
    --------
    >>> import plqlite
    >>> percentile_of(0.0, plqlite.sface().reference_statistics).item()
    0.0
    """
    return np.asarray(np.interp(quality, reference.quality_percentiles.numpy(), np.arange(101)))


def _rank(quality: float, percentile: float) -> str:
    """Say how Q compares with the development photos."""
    than: dict[float, str] = {
        0: "lower than every development photo",
        100: "higher than every development photo",
    }
    middle = f"higher than {percentile:.0f} % of the development photos"
    return f"Q = {quality:.3f}, {than.get(round(percentile, 6), middle)}."


def meanings_of(low: list[str]) -> list[tuple[list[str], str]]:
    """Group unusually low regions, given the most unusual first, by what they may mean together.

    Examples
    --------
    >>> meanings_of(["chin", "mouth"])
    [(['chin', 'mouth'], 'something in front of the lower face, such as a mask, a scarf or a hand')]
    """
    found, left = [], list(low)
    for meaning in MEANINGS:
        if set(meaning.regions) <= set(left):
            found.append(([each for each in left if each in meaning.explains], meaning.text))
            left = [each for each in left if each not in meaning.explains]
    found += [([each], OTHERWISE) for each in left]
    return sorted(found, key=lambda group: low.index(group[0][0]))
