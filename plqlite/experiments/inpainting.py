"""The inpainting experiment (§5.1): find the low region of a face, inpaint it, measure what that changes."""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import binary_fill_holes
from skimage.measure import label
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from plqlite.experiments.dataset import identity_of
from plqlite.experiments.grabcut import grab_cut
from plqlite.experiments.inpainters import Inpainter, inpaint, to_array
from plqlite.explanation import explain
from plqlite.networks.model import FaceModel
from plqlite.quality import closed_form_quality, robustness, stochastic_embeddings

PLACES = ("low", "random", "high")


class Region(NamedTuple):
    """A part of a face that is lower than the reference statistics."""

    mask: torch.Tensor  # (H, W) of bool
    score: float  # how many standard deviations below the mean of clean faces, on average


def low_quality_region(
    deviation: torch.Tensor | None, image: torch.Tensor, threshold: float = 2.0
) -> Region | None:
    """Find the largest connected region whose quality is unusually low.

    The deviation says where, within the resolution of its maps; the edges in the image say how far: GrabCut
    separates what looks like the low pixels from what looks like the rest.

    Parameters
    ----------
    deviation : (H, W), of the image, see `Explanation.deviation`
    image : (3, H, W) aligned RGB, 0..255
    threshold : in standard deviations below the mean of clean faces

    Returns
    -------
    Region, or None if less than a hundredth of the image is below the threshold.

    Raises
    ------
    ValueError
        The model had no reference statistics, or map and image differ in size.

    Examples
    --------
    >>> import plqlite
    >>> model, photo = plqlite.sface(), plqlite.sample_faces()["astronaut"]
    >>> images = plqlite.load_face(photo, model)
    >>> images[..., 80:] = 0  # a black bar over mouth and chin
    >>> region = low_quality_region(explain(model, images).deviation[0], images[0])
    """
    if deviation is None:
        raise ValueError(
            "The model has no reference statistics to compare with: run data_scripts/calibrate.py, or set "
            "model.reference_statistics = plqlite.reference.fit_reference_statistics(…)."
        )
    if deviation.shape != image.shape[-2:]:
        raise ValueError(
            f"The map is {tuple(deviation.shape)}, the image {tuple(image.shape)}: give a map of this image."
        )
    z = deviation.cpu().numpy()  # (H, W)
    low = z < -threshold
    if low.mean() < 0.01:
        return None
    parts = label(_extended_to_edges(to_array(image), z, low), connectivity=1)  # (H, W); 0: the rest
    size = np.bincount(parts[low], minlength=2)[1:]  # low pixels in each part
    mask = binary_fill_holes(parts == 1 + size.argmax()) if size.any() else low
    return Region(torch.from_numpy(mask).to(image.device), -float(z[mask].mean()))


def _extended_to_edges(image: np.ndarray, z: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Extend the low pixels to the edges of what they are on: (H, W) of bool."""
    trimap = np.where(low, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[z > 0.5] = cv2.GC_BGD  # higher than in clean faces: certainly not
    return grab_cut(image, trimap, iterations=5) == cv2.GC_PR_FGD


class Inpainted(NamedTuple):
    """A face, the low region found in it, and the face inpainted there and, as controls, elsewhere."""

    image: torch.Tensor  # (3, H, W)
    mask: torch.Tensor  # (H, W) of bool; empty if no region is unusually low
    score: float  # see `Region`; NaN if there is none
    inpainted: dict[str, torch.Tensor]  # each of PLACES -> (3, H, W); the image itself if there is no region


def inpaint_low_region(
    model: FaceModel, image: torch.Tensor, inpainter: Inpainter, seed: int = 0
) -> Inpainted:
    """Find the unusually low region of a face and inpaint it; as controls, inpaint as many pixels elsewhere.

    Parameters
    ----------
    model : with reference statistics
    image : (3, size, size) aligned RGB, 0..255
    inpainter : see `plqlite.experiments.inpainters.inpaint`
    seed : of the place of the random control

    Returns
    -------
    Inpainted

    Raises
    ------
    ValueError
        See `low_quality_region` and `inpaint`.

    Examples
    --------
    >>> import plqlite
    >>> from plqlite.experiments.inpainters import mirror
    >>> model, photo = plqlite.sface(), plqlite.sample_faces()["astronaut"]
    >>> list(inpaint_low_region(model, plqlite.load_face(photo, model)[0], mirror).inpainted)
    ['low', 'random', 'high']
    """
    explanation = explain(model, image[None])
    saliency, deviation = explanation.saliency[0], explanation.deviation  # (H, W), (1, H, W)
    region = low_quality_region(None if deviation is None else deviation[0], image)
    if region is None or region.mask.all():
        nothing = torch.zeros_like(saliency, dtype=torch.bool)
        return Inpainted(image, nothing, float("nan"), dict.fromkeys(PLACES, image))
    masks = (region.mask, *_controls(saliency, image, int(region.mask.sum()), seed))
    inpainted = {place: inpaint(image, mask, inpainter) for place, mask in zip(PLACES, masks, strict=True)}
    return Inpainted(image, region.mask, region.score, inpainted)


def _controls(
    saliency: torch.Tensor, image: torch.Tensor, count: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two discs of `count` pixels, (H, W) of bool each: anywhere, and where the map is highest."""
    size, width = image.shape[-1], 2 * int((count / np.pi) ** 0.5) + 1
    anywhere = np.random.default_rng(seed).uniform(size / 4, 3 * size / 4, size=2)
    smooth = avg_pool2d(saliency[None, None], (width, 1), 1, (width // 2, 0))  # columns, then rows: as one
    smooth = avg_pool2d(smooth, (1, width), 1, (0, width // 2))[0, 0]  # square, but far faster; 0 outside
    highest = divmod(int(smooth.argmax()), size)
    return disc(image, anywhere, count), disc(image, highest, count)


def disc(image: torch.Tensor, centre: Sequence[float] | np.ndarray, count: int) -> torch.Tensor:
    """Return the `count` pixels of an image that are nearest to a point (row, column): (H, W) of bool.

    Examples
    --------
    >>> disc(torch.zeros(3, 3, 3), (1, 1), 5).int()
    tensor([[0, 1, 0],
            [1, 1, 1],
            [0, 1, 0]], dtype=torch.int32)
    """
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in image.shape[-2:])
    distance = (rows[:, None] - centre[0]) ** 2 + (columns - centre[1]) ** 2  # (H, W)
    mask = torch.zeros(distance.numel(), dtype=torch.bool)
    mask[distance.flatten().argsort(stable=True)[:count]] = True
    return mask.view(distance.shape).to(image.device)


@torch.no_grad()
def qualities(model: FaceModel, images: torch.Tensor, seeds: int = 10, passes: int = 100) -> torch.Tensor:
    """Measure Q with several seeds; the dropout masks of each seed are the same for all images.

    Parameters
    ----------
    model : a FaceModel
    images : (B, 3, size, size) aligned RGB, 0..255
    seeds : how many, from 0 on
    passes : see `ser_fiq`

    Returns
    -------
    (seeds, B)

    Examples
    --------
    >>> import plqlite
    >>> qualities(plqlite.sface(), torch.full((1, 3, 112, 112), 90.0), seeds=2, passes=10).shape
    torch.Size([2, 1])
    """
    return _sampled(model, _features(model, images), seeds, passes)


def _features(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return what dropout acts on, sixteen images at a time: (B, D)."""
    return torch.cat([model.features(batch) for batch in images.split(16)])


def _sampled(model: FaceModel, features: torch.Tensor, seeds: int, passes: int = 100) -> torch.Tensor:
    """Return Q of features (B, D) with several seeds: (seeds, B)."""
    draws = (stochastic_embeddings(model.head, features, passes, seed=seed) for seed in range(seeds))
    return torch.stack([robustness(embeddings) for embeddings in draws])


@torch.no_grad()
def inpainting_rows(
    model: FaceModel,
    inpainted: Mapping[str, Inpainted],
    true_masks: Mapping[str, torch.Tensor] | None = None,
    seeds: int = 10,
) -> pd.DataFrame:
    """Measure what inpainting has done.

    Parameters
    ----------
    model : a FaceModel
    inpainted : name, PERSON/PHOTO or PERSON -> Inpainted
    true_masks : name -> ground-truth mask (H, W) of bool, where the occluder really is, if that is known
    seeds : for the noise, see `qualities`

    Returns
    -------
    A row for each: score, area (share of the image), IoU with the ground-truth mask (NaN if unknown); Q in
    the closed form before (`quality`) and after inpainting (`low`, and the controls `random` and `high`);
    the means of `seeds` sampled Q before and after (`sampled`, `sampled_low`), and `noise`, their standard
    deviation before. Where no region was found, score is NaN and nothing changes.

    Examples
    --------
    >>> import plqlite
    >>> model, image = plqlite.sface(), torch.full((3, 112, 112), 90.0)
    >>> nothing = Inpainted(image, torch.zeros(112, 112), float("nan"), dict.fromkeys(PLACES, image))
    >>> rows = inpainting_rows(model, {"ada": nothing}, seeds=2)
    >>> bool(rows["low"][0] == rows["quality"][0])
    True
    """
    each = inpainted.values()
    rows = pd.DataFrame({"model": model.label, "image": list(inpainted)})
    rows["identity"] = rows["image"].map(identity_of)
    rows["score"] = [one.score for one in each]
    rows["area"] = [one.mask.float().mean().item() for one in each]
    rows["iou"] = np.nan
    if true_masks:
        rows["iou"] = [iou(one.mask, true_masks[name]) for name, one in inpainted.items()]
    images = {"quality": [one.image for one in each]}
    images |= {place: [one.inpainted[place] for one in each] for place in PLACES}
    features = {column: _features(model, torch.stack(same)) for column, same in images.items()}
    for column in images:
        quality = closed_form_quality(model.head, features[column])  # type: ignore[arg-type]  # it checks
        rows[column] = quality.tolist()
    sampled = _sampled(model, torch.cat([features["quality"], features["low"]]), seeds)  # (seeds, 2 B)
    sampled_before, sampled_after = sampled.tensor_split(2, dim=1)
    rows["sampled"], rows["sampled_low"] = sampled_before.mean(0).tolist(), sampled_after.mean(0).tolist()
    rows["noise"] = sampled_before.std(0).tolist()
    return rows


def inpainting_experiment(
    model: FaceModel,
    faces: Mapping[str, torch.Tensor],
    inpainter: Inpainter,
    true_masks: Mapping[str, torch.Tensor] | None = None,
) -> pd.DataFrame:
    """Find the low region of faces, inpaint it and measure.

    Parameters
    ----------
    model : with reference statistics
    faces : name, PERSON/PHOTO or PERSON -> aligned image (3, size, size), RGB 0..255
    inpainter : see `plqlite.experiments.inpainters.inpaint`
    true_masks : see `inpainting_rows`

    Returns
    -------
    See `inpainting_rows`.

    Raises
    ------
    ValueError
        No faces; see also `inpaint_low_region`.

    Examples
    --------
    >>> import plqlite
    >>> from plqlite.experiments.inpainters import mirror
    >>> model, photo = plqlite.sface(), plqlite.sample_faces()["astronaut"]
    >>> rows = inpainting_experiment(model, {"ada/1.png": plqlite.load_face(photo, model)[0]}, mirror)
    >>> rows["identity"].tolist()
    ['ada']
    """
    if not faces:
        raise ValueError("Nothing to inpaint: give at least one face.")
    inpainted = {
        name: inpaint_low_region(model, face, inpainter, seed=zlib.crc32(name.encode()))
        for name, face in tqdm(faces.items(), desc=model.name, unit="face", disable=None)
    }
    return inpainting_rows(model, inpainted, true_masks)


def verdict(rows: pd.DataFrame) -> pd.Series:
    """Say of each row whether the sampled Q went up, down, or stayed within its noise.

    Examples
    --------
    >>> verdict(pd.DataFrame({"sampled": [0.7, 0.7], "sampled_low": [0.8, 0.71], "noise": 0.05})).tolist()
    ['up', 'within noise']
    """
    change = rows["sampled_low"] - rows["sampled"]
    choices = [change > rows["noise"], change < -rows["noise"]]
    return pd.Series(np.select(choices, ["up", "down"], "within noise"), rows.index)


def iou(found: torch.Tensor, true_mask: torch.Tensor) -> float:
    """Return the intersection over union of two masks (H, W) of bool, 0..1; 0 if both are empty.

    Examples
    --------
    >>> iou(torch.tensor([[True, True, False]]), torch.tensor([[False, True, False]]))
    0.5
    """
    return ((found & true_mask).sum() / (found | true_mask).sum().clamp_min(1)).item()
