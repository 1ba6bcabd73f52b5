"""Find the part of a face that a map calls unusually low, and fill it in (§4.1, §5.1).

Filling in invents: what comes out may have a higher quality, but it is not the person. Never enrol it.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
from skimage.measure import label
from skimage.restoration import inpaint_biharmonic

from plqlite.models import Usual
from plqlite.saliency import relative_level

Inpainter = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # image (3, H, W), mask (H, W) -> image


class Region(NamedTuple):
    """A part of a face that is lower than usual."""

    mask: torch.Tensor  # (H, W) of bool
    score: float  # how many standard deviations below the usual map, on average


def below_usual(saliency: torch.Tensor, usual: Usual) -> torch.Tensor:
    """Measure how far a map lies below the usual one, in standard deviations of undisturbed faces.

    Every map is low at the cheeks: what matters is lower than usual *there*.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ
    usual : of the same model, `model.usual`

    Returns
    -------
    (B, H, W); positive where the map is lower than usual.

    Examples
    --------
    >>> below_usual(explanation.saliency, model.usual) > 2.5
    """
    level = relative_level(saliency)  # (B, 28, 28)
    mean, spread = usual.mean.to(level), usual.spread.to(level)
    below = (mean - level) / spread
    return torch.nn.functional.interpolate(below[:, None], saliency.shape[-2:], mode="bilinear")[:, 0]


def low_quality_region(
    saliency: torch.Tensor, image: torch.Tensor, usual: Usual | None, threshold: float = 2.5
) -> Region | None:
    """Find the largest connected region whose pixel-level quality is unusually low.

    The map says where, within the resolution of a gradient; the edges of the image say how far: GrabCut
    (Rother, Kolmogorov & Blake 2004) parts what looks like the unusual pixels from what looks like the rest.

    Parameters
    ----------
    saliency : (H, W), Ŝ of the image: it has the order of P, and no level that could be cut off
    image : (3, H, W) aligned RGB, 0..255
    usual : `model.usual`, of the model that made the map
    threshold : in standard deviations below the usual map

    Returns
    -------
    Region, or None if less than a hundredth of the image lies below the threshold.

    Raises
    ------
    ValueError
        The model has no usual map, or map and image differ in size.

    Examples
    --------
    >>> explanation = plqlite.explain(model, images)
    >>> region = low_quality_region(explanation.saliency[0], images[0], model.usual)
    """
    if usual is None:
        raise ValueError(
            "The model has no usual map to compare with: run data_scripts/calibrate.py, or set "
            "model.usual = plqlite.calibration.usual_faces(…)."
        )
    if saliency.shape != image.shape[-2:]:
        raise ValueError(f"The map is {tuple(saliency.shape)}, the image {tuple(image.shape)}: give a pair.")
    below = below_usual(saliency[None], usual)[0].cpu().numpy()  # (H, W)
    low = below > threshold
    if low.mean() < 0.01:
        return None
    parts = label(_grab_cut(_to_array(image), below, low), connectivity=1)  # (H, W); 0: the rest
    size = np.bincount(parts[low], minlength=2)[1:]  # of what is low in each part
    mask = binary_fill_holes(parts == 1 + size.argmax()) if size.any() else low
    return Region(torch.from_numpy(mask).to(image.device), float(below[mask].mean()))


def _grab_cut(image: np.ndarray, below: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Extend the low pixels to the edges of what they lie on: (H, W) of bool."""
    trimap = np.where(low, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[below < -0.5] = cv2.GC_BGD  # higher than usual: certainly not
    cv2.setRNGSeed(0)  # its clusters start at random
    cv2.grabCut(image, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return trimap == cv2.GC_PR_FGD


def inpaint(image: torch.Tensor, mask: torch.Tensor, inpainter: Inpainter) -> torch.Tensor:
    """Fill in a part of a face; what lies outside it stays as it is.

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255
    mask : (H, W) of bool
    inpainter : one of INPAINTERS, `lama`, `average_face(…)`, or your own

    Returns
    -------
    (3, H, W)

    Raises
    ------
    ValueError
        The mask is empty, covers everything, is not binary or of another size; the inpainter returns
        another shape.

    Examples
    --------
    >>> repaired = inpaint(images[0], region.mask, mirror)
    """
    if mask.shape != image.shape[-2:]:
        raise ValueError(f"The mask is {tuple(mask.shape)}, the image {tuple(image.shape)}: give a pair.")
    if mask.dtype != torch.bool:
        raise ValueError(f"The mask is of {mask.dtype}: compare it with a threshold, so that it is of bool.")
    if not 0 < mask.sum() < mask.numel():
        raise ValueError(
            f"The mask covers {mask.sum()} of {mask.numel()} pixels: there is nothing to fill in."
        )
    filled = inpainter(image, mask)
    if filled.shape != image.shape:
        raise ValueError(f"The inpainter returned {tuple(filled.shape)} of {tuple(image.shape)}: mend it.")
    return torch.where(mask, filled.to(image), image)


def mirror(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Fill from the other half of the face; what is masked on both sides, with `telea`."""
    return _mirrored(image, mask, telea)


def average_face(faces: torch.Tensor) -> Inpainter:
    """Make an inpainter that knows what a face looks like: `mirror`, with an average face in place of Telea.

    The average takes over mean and contrast of what can be seen.

    Parameters
    ----------
    faces : (N, 3, H, W) aligned as the image will be, RGB, 0..255; not the person to be filled in

    Returns
    -------
    Inpainter

    Examples
    --------
    >>> inpaint(images[0], region.mask, average_face(images[1:]))
    """
    average = torch.cat([faces, faces.flip(-1)]).mean(0)  # (3, H, W)

    def fill(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen, known = image[:, ~mask], average.to(image)[:, ~mask]  # (3, n) each
        contrast = seen.std(1) / known.std(1).clamp_min(1)  # (3,)
        shifted = (average.to(image) - known.mean(1)[:, None, None]) * contrast[:, None, None]
        return torch.where(mask, (shifted + seen.mean(1)[:, None, None]).clamp(0, 255), image)

    return lambda image, mask: _mirrored(image, mask, fill)


def _mirrored(image: torch.Tensor, mask: torch.Tensor, fill: Inpainter) -> torch.Tensor:
    """Fill from the other half, then use another inpainter for what is masked there, too."""
    both = mask & mask.flip(-1)
    image = torch.where(mask & ~both, image.flip(-1), image)
    return torch.where(both, fill(image, both), image) if both.any() else image


def telea(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Carry colours inwards from the border (Telea 2004; OpenCV)."""
    return _opencv(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Carry lines of equal brightness inwards (Bertalmio, Bertozzi & Sapiro 2001; OpenCV)."""
    return _opencv(image, mask, cv2.INPAINT_NS)


def _opencv(image: torch.Tensor, mask: torch.Tensor, method: int) -> torch.Tensor:
    """Let OpenCV fill in, from a neighbourhood of three pixels."""
    return _to_image(cv2.inpaint(_to_array(image), np.uint8(mask.cpu().numpy()), 3, method), image)


def biharmonic(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Stretch the smoothest surface over the hole (scikit-image)."""
    filled = inpaint_biharmonic(_to_array(image), mask.cpu().numpy(), channel_axis=2)  # 0..1
    return _to_image((255 * filled).clip(0, 255), image)


def lama(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Fill in with a network (LaMa, arXiv 2109.07161), if the package simple-lama-inpainting is installed.

    That package asks for versions that do not go with ours, so install it without them:
    pip install --no-deps simple-lama-inpainting fire. It downloads 196 MB and checks no hash; let LAMA_MODEL
    name a file that you trust.

    Raises
    ------
    ImportError
        The package is not installed.
    """
    try:
        from simple_lama_inpainting import SimpleLama
    except ImportError as error:
        raise ImportError(
            "lama needs another package: run  pip install --no-deps simple-lama-inpainting fire"
        ) from error
    filled = SimpleLama(image.device)(_to_array(image), np.uint8(mask.cpu().numpy()) * 255)
    height, width = image.shape[-2:]
    return _to_image(np.asarray(filled)[:height, :width], image)  # it pads to a multiple of eight


INPAINTERS: dict[str, Inpainter] = {
    "mirror": mirror,
    "telea": telea,
    "navier_stokes": navier_stokes,
    "biharmonic": biharmonic,
    "lama": lama,
}


def _to_array(image: torch.Tensor) -> np.ndarray:
    """Turn (3, H, W) in 0..255 into (H, W, 3) of uint8."""
    return np.ascontiguousarray(image.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())


def _to_image(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Turn (H, W, 3) into a tensor (3, H, W) like another."""
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).to(like)
