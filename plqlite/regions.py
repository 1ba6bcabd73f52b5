"""Parts of the face: where they are in an aligned image, and how far each is from clean faces."""

from collections.abc import Mapping

import torch

from plqlite.calibration import ReferenceStatistics
from plqlite.explanation import Explanation
from plqlite.faces import BOTH_EYES, REGIONS
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


def region_masks(model: FaceModel) -> dict[str, torch.Tensor]:
    """Return the mask of each part of a face, (size, size) of bool, by name; "both eyes" is the last.

    Examples
    --------
    >>> import plqlite
    >>> list(region_masks(plqlite.sface()))[-1]
    'both eyes'
    """
    masks = dict(zip(REGIONS, face_regions(model), strict=True))
    return masks | {BOTH_EYES: masks["left eye"] | masks["right eye"]}


def region_z_scores(deviation: torch.Tensor, model: FaceModel) -> dict[str, torch.Tensor]:
    """Return how far each part of a face is from clean faces: the mean of the lowest quarter of its pixels.

    A quarter, since an occluder need not cover the whole part.

    Parameters
    ----------
    deviation : (B, size, size), `Explanation.deviation` by this model
    model : its size and its alignment decide where the parts are

    Returns
    -------
    Region (see `plqlite.faces.REGIONS`; left is left in the picture) -> z, (B,), and "both eyes", their mean.
    Those below their alarms in the model's reference statistics are unusually low.

    Examples
    --------
    >>> import plqlite
    >>> z = region_z_scores(torch.zeros(1, 112, 112), plqlite.sface())
    >>> z["mouth"]
    tensor([0.])
    """
    found = {}
    for name, mask in zip(REGIONS, face_regions(model), strict=True):
        inside = deviation[:, mask.to(deviation.device)]  # (B, pixels of the region)
        count = max(1, inside.shape[1] // 4)
        found[name] = inside.topk(count, dim=1, largest=False, sorted=False).values.mean(dim=1)
    return found | {BOTH_EYES: (found["left eye"] + found["right eye"]) / 2}


def low_regions(explanation: Explanation) -> dict[str, torch.Tensor]:
    """Return the parts of one face that are unusually low, the most unusual first, each with its low pixels.

    Parameters
    ----------
    explanation : of one image

    Returns
    -------
    Region -> (size, size) of bool; nothing without reference statistics.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> low_regions(plqlite.explain(model, images))
    {}
    """
    model, deviation = explanation.model, explanation.deviation
    if model is None or model.reference_statistics is None or deviation is None:
        return {}
    z = {name: value.item() for name, value in region_z_scores(deviation, model).items()}
    masks, alarms = region_masks(model), model.reference_statistics.alarms
    return {name: masks[name] & (deviation[0].cpu() < alarms[name]) for name in beyond_alarms(z, alarms)}


def beyond_alarms(z: Mapping[str, float], alarms: Mapping[str, float]) -> list[str]:
    """Return the parts of a face whose z-scores are below their alarms, the most unusual first.

    Examples
    --------
    >>> alarms = {"left eye": -3.0, "right eye": -3.0, "chin": -2.0, "both eyes": -2.5}
    >>> beyond_alarms({"left eye": -3.3, "right eye": -2.0, "chin": -3.0, "both eyes": -2.65}, alarms)
    ['chin', 'both eyes']
    """
    reach = {name: z[name] / alarms[name] for name in alarms}  # above 1: beyond the alarm
    named = sorted((name for name in alarms if reach[name] > 1), key=lambda name: -reach[name])
    if BOTH_EYES in named:  # one of them alone says no more
        named = [name for name in named if name not in ("left eye", "right eye")]
    return named


def reference_statistics_of(model: FaceModel) -> ReferenceStatistics:
    """Return a model's reference statistics, or raise a ValueError that says how to get them.

    Examples
    --------
    >>> import plqlite
    >>> reference_statistics_of(plqlite.sface()).maps["level"].mean.shape
    torch.Size([28, 28])
    """
    if model.reference_statistics is None:
        raise ValueError(
            f"{model.name} has no reference statistics to compare with: run data_scripts/calibrate.py, or "
            "set model.reference_statistics = plqlite.reference.fit_reference_statistics(…)."
        )
    return model.reference_statistics
