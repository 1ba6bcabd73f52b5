"""The study of passport photos (§5.3) on simulated violations: one table for any photos and any model."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from plqlite.dataset import identity_of
from plqlite.explain import explain
from plqlite.faces import REGIONS, Face, NoFaceFound, face_regions, find_faces, read_image
from plqlite.measure import localisation_auc, region_quality, usual_of
from plqlite.models import FaceModel
from plqlite.saliency import relative_level
from plqlite.violations import Violation, slots, violate

REFERENCE = "reference"
WORN = ("headgear", "glasses", "reflection", "face mask")  # what lies in front of a part of the face


class Crop(NamedTuple):
    """A photo that breaks a rule, as a model sees it."""

    image: torch.Tensor  # (3, size, size)
    mask: torch.Tensor | None  # (size, size) of bool, what was touched; None if that is everything
    found: bool  # False: the face was lost, and is aligned as in the original


def break_all(photo: np.ndarray, strength: float = 1.0, seed: int = 0) -> tuple[Face, dict[str, Violation]]:
    """Break each rule on the largest face of a photo.

    Parameters
    ----------
    photo : (H, W, 3) uint8
    strength, seed : see `violate`

    Returns
    -------
    The face, and a Violation for "reference" (the photo itself) and each of the 33 names of `slots`.

    Raises
    ------
    NoFaceFound
        The photo shows no face.

    Examples
    --------
    >>> face, violations = break_all(sample_faces()["astronaut"])
    >>> len(violations)
    34
    """
    photo = read_image(photo)
    faces = find_faces(photo)
    if not faces:
        raise NoFaceFound(f"No face found in an image of {photo.shape[1]}×{photo.shape[0]} pixels.")
    violations = {REFERENCE: Violation(photo, None, False)}
    for name, (kind, variant) in slots().items():
        violations[name] = violate(photo, faces[0].landmarks, kind, variant, strength, seed)
    return faces[0], violations


def align_violation(model: FaceModel, violation: Violation, face: Face) -> Crop:
    """Align a photo that breaks a rule, as the original unless the face has moved.

    Parameters
    ----------
    model : chooses size and alignment
    violation : from `violate`
    face : where it was in the original

    Returns
    -------
    Crop. A face that lies more than half its width from where it was counts as another one.

    Examples
    --------
    >>> align_violation(model, violate(photo, face.landmarks, "pose", "yaw"), face).found
    True
    """
    found = find_faces(violation.photo) if violation.moved else [face]

    def away(each: Face) -> float:
        return np.linalg.norm(each.landmarks.mean(0) - face.landmarks.mean(0))

    found = [each for each in found if away(each) < np.ptp(face.box[[0, 2]]) / 2]
    place = min(found, key=away, default=face)

    def crop(photo: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(model.align(photo, place, model.size)).permute(2, 0, 1).to(model.device)

    mask = violation.mask
    if mask is not None:
        mask = crop(np.repeat(np.uint8(mask)[..., None] * 255, 3, axis=2))[0] > 127
    return Crop(crop(violation.photo).float(), mask, bool(found))


def icao_experiment(
    models: Sequence[FaceModel], photos: Mapping[str, np.ndarray], strength: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Break each rule on each photo, and measure what happens to quality and map.

    Parameters
    ----------
    models : each with `usual`
    photos : name, PERSON/PHOTO or PERSON -> (H, W, 3) uint8
    strength, seed : see `violate`

    Returns
    -------
    A row for each model, photo, and "reference" or one of `slots`:

    quality, delta_q : Q, and the fall of Q̂ (Eq. 8)
    found : False if the face was lost, see `align_violation`
    forehead, … : z of each region (see `region_quality`), and the `lowest` of them
    touched : the regions of which a tenth or more lies under the mask
    kept : how well the map's order of places is kept, its rank correlation with the reference's
    auc, auc_plq, auc_alone, auc_blur : see `localise`

    Raises
    ------
    NoFaceFound
        A photo shows no face.
    ValueError
        No photos, or a model that does not know what is usual.

    Examples
    --------
    >>> rows = icao_experiment([plqlite.sface(), plqlite.facenet()], plqlite.sample_faces())
    >>> rows.groupby("kind")["delta_q"].mean()
    """
    if not photos:
        raise ValueError("No photos: give at least one, with a face.")
    for model in models:
        usual_of(model)  # before an hour of work
    tables = []
    for name, photo in tqdm(photos.items(), desc="breaking rules", unit="photo", disable=None):
        face, violations = break_all(photo, strength, seed)
        for model in models:
            crops = {slot: align_violation(model, each, face) for slot, each in violations.items()}
            rows = measure_crops(model, crops)
            tables.append(rows.assign(model=model.name, image=name, identity=identity_of(name)))
    return pd.concat(tables, ignore_index=True)


def measure_crops(model: FaceModel, crops: Mapping[str, Crop]) -> pd.DataFrame:
    """Measure the crops of one photo, with the closed form; see `icao_experiment`.

    Examples
    --------
    >>> face, violations = break_all(photo)
    >>> crops = {slot: align_violation(model, each, face) for slot, each in violations.items()}
    >>> measure_crops(model, crops)[["slot", "delta_q", "lowest"]]
    """
    images = torch.stack([crop.image for crop in crops.values()]).split(12)
    explained = [explain(model, batch, passes=None) for batch in images]
    scaled = torch.cat([each.scaled_quality for each in explained]).cpu()
    level = torch.cat([relative_level(each.saliency) for each in explained]).cpu()  # (N, 28, 28)
    plq = adaptive_avg_pool2d(torch.cat([each.plq for each in explained]), 28).cpu()  # (N, 28, 28)
    rows = pd.DataFrame({"slot": list(crops)})
    rows["kind"] = [slots().get(name, (REFERENCE,))[0] for name in crops]
    rows["found"] = [crop.found for crop in crops.values()]
    rows["quality"] = torch.cat([each.quality for each in explained]).tolist()
    rows["delta_q"] = (scaled[list(crops).index(REFERENCE)] - scaled).tolist()
    z = [region_quality(each, model) for each in explained]
    for region in REGIONS:
        rows[region] = torch.cat([each[region] for each in z]).tolist()
    rows["lowest"] = rows[list(REGIONS)].idxmin(axis=1)
    rows["touched"] = [touched_regions(model, crop.mask) for crop in crops.values()]
    reference = level[list(crops).index(REFERENCE)]
    rows["kept"] = [spearmanr(reference.flatten(), each.flatten()).statistic for each in level]
    return rows.join(localise(level, plq, crops))


def localise(level: torch.Tensor, plq: torch.Tensor, crops: Mapping[str, Crop]) -> pd.DataFrame:
    """Measure how well maps find what was touched: the chance that a touched place is lower than another.

    Parameters
    ----------
    level, plq : (N, 28, 28), `relative_level` and P of the N crops
    crops : slot -> Crop, "reference" and "blur-defocus" among them

    Returns
    -------
    A row for each crop, with NaN where no part, or everything, was touched:

    auc : of the fall of the level from the reference
    auc_plq : of the fall of P
    auc_alone : of the level itself, without the reference
    auc_blur : a control, of the fall that a blur of the whole photo causes

    Examples
    --------
    >>> localise(level, plq, crops)["auc"].mean()
    """
    names = list(crops)
    reference, blur = names.index(REFERENCE), names.index("blur-defocus")
    lower = {
        "auc": level - level[reference],
        "auc_plq": plq - plq[reference],
        "auc_alone": level,
        "auc_blur": (level[blur] - level[reference]).expand_as(level),
    }
    masks = [crop.mask for crop in crops.values()]
    return pd.DataFrame({name: map(_auc, each, masks) for name, each in lower.items()})


def touched_regions(model: FaceModel, mask: torch.Tensor | None) -> list[str]:
    """Return the regions of which a tenth or more lies under a mask (size, size)."""
    if mask is None:
        return []
    regions = face_regions(model)  # (8, size, size)
    share = (regions & mask.cpu()).sum((1, 2)) / regions.sum((1, 2))
    return [name for name, covered in zip(REGIONS, share, strict=True) if covered >= 0.1]


def _auc(plq: torch.Tensor, mask: torch.Tensor | None) -> float:
    """Return how well the low places of a map (28, 28) find a mask (size, size); NaN without one."""
    if mask is None:
        return float("nan")
    coarse = adaptive_avg_pool2d(mask.cpu()[None].float(), 28)[0] > 0.5
    return localisation_auc(plq, coarse) if 0 < coarse.sum() < coarse.numel() else float("nan")
