"""The ICAO experiment (§5.3) on simulated non-compliance: one table, for any photos and any model."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import binary_fill_holes
from scipy.stats import spearmanr
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from plqlite.experiments.dataset import identity_of
from plqlite.experiments.noncompliance import NON_COMPLIANCES, Simulated, simulate
from plqlite.experiments.statistics import localisation_auc
from plqlite.explanation import Explanation, explain
from plqlite.faces import REGIONS, Face, Photo, find_faces, largest_face, read_image
from plqlite.networks.model import FaceModel
from plqlite.reference import mean_of_higher_half, relative_level
from plqlite.regions import face_regions, reference_statistics_of, region_z_scores

REFERENCE = "reference"
WORN = ("headgear", "glasses", "reflection", "face mask")  # kinds that cover a part of the face


class Crop(NamedTuple):
    """A non-compliant photo, as a model sees it."""

    image: torch.Tensor  # (3, size, size)
    mask: torch.Tensor | None  # (size, size) of bool, what was changed; None if that is everything
    found: bool  # False: the face was lost, and the photo is aligned as the original


def simulate_all(photo: Photo, strength: float = 1.0, seed: int = 0) -> tuple[Face, dict[str, Simulated]]:
    """Make a photo non-compliant in each of the 33 ways, by the landmarks of its largest face.

    Parameters
    ----------
    photo : (H, W, 3) uint8, or whatever else `read_image` takes
    strength, seed : see `simulate`

    Returns
    -------
    The face, and Simulated for "reference" (the photo itself) and each name of NON_COMPLIANCES.

    Raises
    ------
    NoFaceFound
        No face is found in the photo.

    Examples
    --------
    >>> import plqlite
    >>> face, simulated = simulate_all(plqlite.sample_faces()["astronaut"])
    >>> len(simulated)
    34
    """
    photo = read_image(photo)
    face = largest_face(photo)
    simulated = {name: simulate(photo, face.landmarks, name, strength, seed) for name in NON_COMPLIANCES}
    return face, {REFERENCE: Simulated(photo, None, False)} | simulated


def align_simulated(model: FaceModel, simulated: Simulated, face: Face) -> Crop:
    """Align a non-compliant photo: as the original, unless the face has moved.

    Parameters
    ----------
    model : its size and its alignment decide
    simulated : from `simulate`
    face : where it was in the original

    Returns
    -------
    Crop. A face more than half its width from where it was is taken for another one.

    Examples
    --------
    >>> import plqlite
    >>> photo = plqlite.sample_faces()["astronaut"]
    >>> face = largest_face(photo)
    >>> align_simulated(plqlite.sface(), simulate(photo, face.landmarks, "pose-yaw"), face).found
    True
    """
    again = _face_again(simulated.photo, face) if simulated.moved else face
    place = again or face
    mask = None if simulated.mask is None else model.crop_mask(simulated.mask, place)
    return Crop(model.crop(simulated.photo, place), mask, again is not None)


def _face_again(photo: np.ndarray, face: Face) -> Face | None:
    """Return the face that is nearest to where one was before; None if it is too far from there."""

    def distance(other: Face) -> float:
        return float(np.linalg.norm(other.landmarks.mean(0) - face.landmarks.mean(0)))

    near = [each for each in find_faces(photo) if distance(each) < np.ptp(face.box[[0, 2]]) / 2]
    return min(near, key=distance, default=None)


def icao_experiment(
    models: Sequence[FaceModel], photos: Mapping[str, np.ndarray], strength: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Make photos non-compliant in each way, and measure what happens to the quality and to the PLQ map.

    Parameters
    ----------
    models : each with reference statistics
    photos : name, PERSON/PHOTO or PERSON -> (H, W, 3) uint8
    strength, seed : see `simulate`

    Returns
    -------
    A row for each model, photo, and "reference" or name of NON_COMPLIANCES (column `slot`):

    quality, delta_q : Q, and the fall of Q̂ (Eq. 8)
    found : False if the face was lost, see `align_simulated`
    forehead, … : z-score of each region (see `region_z_scores`), and the `lowest` of them
    touched : the regions of which the mask covers a tenth or more
    rank_correlation : of the map's levels with those of the reference: 1 if their order has not changed
    auc, auc_plq, auc_deviation, auc_alone, auc_blur : see `localise`

    Raises
    ------
    NoFaceFound
        No face is found in a photo.
    ValueError
        No photos, or a model without reference statistics.

    Examples
    --------
    >>> import plqlite
    >>> photo = plqlite.sample_faces()["astronaut"]
    >>> rows = icao_experiment([plqlite.sface()], {"ada": photo}).set_index("slot")
    >>> bool(rows.loc["glasses-dark", "delta_q"] > 0)
    True
    """
    if not photos:
        raise ValueError("No photos: give at least one, with a face.")
    for model in models:
        reference_statistics_of(model)  # before an hour of work
    tables = []
    for name, photo in tqdm(photos.items(), desc="simulating", unit="photo", disable=None):
        face, simulated = simulate_all(photo, strength, seed)
        for model in models:
            crops = {slot: align_simulated(model, each, face) for slot, each in simulated.items()}
            rows = icao_rows(model, crops)
            tables.append(rows.assign(model=model.name, image=name, identity=identity_of(name)))
    return pd.concat(tables, ignore_index=True)


def icao_rows(model: FaceModel, crops: Mapping[str, Crop]) -> pd.DataFrame:
    """Measure the crops of one photo; see `icao_experiment`.

    Examples
    --------
    >>> import plqlite
    >>> model, (face, simulated) = plqlite.sface(), simulate_all(plqlite.sample_faces()["astronaut"])
    >>> crops = {slot: align_simulated(model, each, face) for slot, each in simulated.items()}
    >>> icao_rows(model, crops).set_index("slot").loc["headgear-cap", "lowest"]
    'forehead'
    """
    explained = _explain_in_batches(model, torch.stack([crop.image for crop in crops.values()]))
    deviation = cast(torch.Tensor, explained.deviation)  # (N, size, size)
    reference = list(crops).index(REFERENCE)
    scaled = explained.scaled_quality.cpu()
    level = relative_level(explained.saliency).cpu()  # (N, 28, 28)
    plq = adaptive_avg_pool2d(explained.plq, 28).cpu()  # (N, 28, 28)
    rows = pd.DataFrame({"slot": list(crops)})
    rows["kind"] = [NON_COMPLIANCES[slot].kind if slot in NON_COMPLIANCES else REFERENCE for slot in crops]
    rows["found"] = [crop.found for crop in crops.values()]
    rows["quality"] = explained.quality.tolist()
    rows["delta_q"] = (scaled[reference] - scaled).tolist()
    for region, z in region_z_scores(deviation, model).items():
        rows[region] = z.tolist()
    rows["lowest"] = rows[list(REGIONS)].idxmin(axis=1)
    rows["touched"] = [touched_regions(model, crop.mask) for crop in crops.values()]
    order = level.flatten(1)  # (N, 784)
    rows["rank_correlation"] = [spearmanr(order[reference], each).statistic for each in order]
    z = adaptive_avg_pool2d(deviation, 28).cpu()  # (N, 28, 28)
    return rows.join(localise(level, plq, z, crops))


def _explain_in_batches(model: FaceModel, images: torch.Tensor) -> Explanation:
    """Explain many images, twelve at a time."""
    parts = [explain(model, batch) for batch in images.split(12)]
    names = ("quality", "scaled_quality", "saliency", "plq", "pattern", "deviation")
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Explanation(**joined, calibrated=parts[0].calibrated)


def localise(
    level: torch.Tensor, plq: torch.Tensor, z: torch.Tensor, crops: Mapping[str, Crop]
) -> pd.DataFrame:
    """Measure how well maps find what was changed: the chance that a changed place is lower than another.

    Parameters
    ----------
    level, plq, z : (N, 28, 28), `relative_level`, P and deviation of the N crops
    crops : slot -> Crop, "reference" and "blur-defocus" among them

    Returns
    -------
    A row for each crop, with NaN where everything was changed, or nothing:

    auc : of the fall of the level from the reference
    auc_plq : of the fall of P
    auc_deviation : of the deviation, without the reference
    auc_alone : of the level itself, without the reference
    auc_blur : a control, of the fall that a blur of the whole photo causes

    Examples
    --------
    >>> mask = torch.zeros(112, 112, dtype=torch.bool)
    >>> mask[:56] = True
    >>> whole, upper = Crop(torch.zeros(3, 112, 112), None, True), Crop(torch.zeros(3, 112, 112), mask, True)
    >>> crops, maps = {"reference": whole, "blur-defocus": whole, "cap": upper}, torch.zeros(3, 28, 28)
    >>> maps[2, :14] = -1  # where the mask is
    >>> localise(maps, maps, maps, crops)["auc"].tolist()
    [nan, nan, 1.0]
    """
    names = list(crops)
    reference, blur = names.index(REFERENCE), names.index("blur-defocus")
    lower = {
        "auc": level - level[reference],
        "auc_plq": plq - plq[reference],
        "auc_deviation": z,
        "auc_alone": level,
        "auc_blur": (level[blur] - level[reference]).expand_as(level),
    }
    masks = [crop.mask for crop in crops.values()]
    return pd.DataFrame({name: map(_auc, each, masks) for name, each in lower.items()})


def frame_and_lenses(pair: torch.Tensor, frame: torch.Tensor) -> tuple[float, float]:
    """Return how far the level of a map falls on the frame of glasses, and in what the frame encloses.

    Parameters
    ----------
    pair : (2, H, W), saliency without and with glasses
    frame : (H, W) of bool

    Examples
    --------
    >>> frame = torch.ones(5, 5, dtype=torch.bool)
    >>> frame[2, 2] = False
    >>> pair = torch.ones(2, 9, 9)
    >>> pair[1, :5, :5][frame] = 0.5
    >>> frame = torch.nn.functional.pad(frame, (0, 4, 0, 4))
    >>> [round(fall, 2) for fall in frame_and_lenses(pair, frame)]
    [0.69, 0.0]
    """
    lenses = torch.from_numpy(binary_fill_holes(frame.cpu())).to(frame.device) & ~frame
    log = pair.clamp_min(1e-30).log()  # (2, H, W)
    before, after = log - mean_of_higher_half(log)[:, None, None]
    frame_fall, lenses_fall = ((before - after)[region].mean().item() for region in (frame, lenses))
    return frame_fall, lenses_fall


def touched_regions(model: FaceModel, mask: torch.Tensor | None) -> list[str]:
    """Return the regions of which a mask (size, size) covers a tenth or more.

    Examples
    --------
    >>> import plqlite
    >>> mask = torch.zeros(112, 112, dtype=torch.bool)
    >>> mask[100:] = True
    >>> touched_regions(plqlite.sface(), mask)
    ['chin']
    """
    if mask is None:
        return []
    regions = face_regions(model)  # (8, size, size)
    share = (regions & mask.cpu()).sum((1, 2)) / regions.sum((1, 2))
    return [name for name, covered in zip(REGIONS, share, strict=True) if covered >= 0.1]


def _auc(lower: torch.Tensor, mask: torch.Tensor | None) -> float:
    """Return how well the low places of a map (28, 28) find a mask (size, size); NaN without one."""
    if mask is None:
        return float("nan")
    coarse = adaptive_avg_pool2d(mask.cpu()[None].float(), 28)[0] > 0.5
    return localisation_auc(lower, coarse) if 0 < coarse.sum() < coarse.numel() else float("nan")
