"""What is wrong with a photo, in words (§5.3): no more than the numbers behind it say."""

from typing import NamedTuple

import numpy as np
import torch

from plqlite.explain import explain
from plqlite.measure import region_quality
from plqlite.models import FaceModel

UNUSUAL = -3.0  # standard deviations below what is usual in a region
RARE = 1.0  # percent of the development photos with a lower Q
# What the regions of each row may mean where all of them are low; the first row that fits takes its regions.
MEANINGS = {
    ("mouth", "chin"): "something in front of the lower face, such as a mask, a scarf or a hand",
    ("nose", "mouth"): "something in front of the lower face, such as a mask, a scarf or a hand",
    ("left eye", "right eye"): "glasses, reflections on them, hair, or closed eyes",
    (
        "left eye",
        "left cheek",
    ): "a turned head, or light, hair or a hand at the left of the picture",
    (
        "right eye",
        "right cheek",
    ): "a turned head, or light, hair or a hand at the right of the picture",
    ("forehead",): "headgear, hair, or a reflection",
    ("mouth",): "a grimace, or something in front of the mouth",
}
LOWER = ("nose", "left cheek", "right cheek", "mouth", "chin")  # one thing in front of them covers all
OTHERWISE = "something in front of it, a reflection, or hard light"


class Advice(NamedTuple):
    """What `advise` finds."""

    text: str  # one finding a line
    unusual: list[str]  # the regions that are unusually low, the lowest first
    regions: dict[str, float]  # z of each region, see `region_quality`
    quality: float  # Q
    percentile: float  # how many percent of the development photos have a lower Q


def advise(model: FaceModel, image: torch.Tensor) -> Advice:
    """Say what is unusual about a face photo, and what that may mean.

    Parameters
    ----------
    model : with `usual`, which SFace and FaceNet bring
    image : (1, 3, size, size) aligned RGB, 0..255, see `load_face`

    Returns
    -------
    Advice. Regions are named that lie 3 standard deviations or more below undisturbed faces, and Q if
    99 % of the development photos have a higher one.

    Raises
    ------
    ValueError
        More than one image, or a model that does not know what is usual; see also `explain`.

    Examples
    --------
    >>> print(advise(model, load_face("photo.jpg", model)).text)
    Nothing unusual: …
    """
    if len(image) != 1:
        raise ValueError(f"{len(image)} images: give advice on one at a time, image[:1].")
    explanation = explain(model, image)
    z = {region: value.item() for region, value in region_quality(explanation, model).items()}
    unusual = sorted((region for region in z if z[region] < UNUSUAL), key=z.get)
    quality = explanation.quality.item()
    percentile = float(np.interp(quality, model.usual.quality.numpy(), np.arange(101)))
    findings = [
        f"Unusually low: {', '.join(f'{name} ({z[name]:.1f} σ)' for name in regions)}. May be {meaning}."
        for regions, meaning in meanings_of(unusual)
    ]
    place = f"Q = {quality:.3f}, higher than {percentile:.0f} % of the development photos."
    if not findings and percentile < RARE:
        place += " No region stands out: look at sharpness, light and pose."
    elif not findings:
        lowest = min(z, key=z.get)
        findings = [f"Nothing unusual: the lowest region is the {lowest} ({z[lowest]:+.1f} σ)."]
    findings.append(place)
    return Advice("\n".join(findings), unusual, z, quality, percentile)


def meanings_of(unusual: list[str]) -> list[tuple[list[str], str]]:
    """Group unusually low regions, given the lowest first, by what they may mean together.

    Examples
    --------
    >>> meanings_of(["chin", "mouth"])
    [(['chin', 'mouth'], 'something in front of the lower face, such as a mask, a scarf or a hand')]
    """
    found, left = [], list(unusual)
    for regions, meaning in MEANINGS.items():
        if set(regions) <= set(left):
            taken = LOWER if "mouth" in regions and len(regions) > 1 else regions
            found.append(([each for each in left if each in taken], meaning))
            left = [each for each in left if each not in taken]
    found += [([each], OTHERWISE) for each in left]
    return sorted(found, key=lambda group: unusual.index(group[0][0]))
