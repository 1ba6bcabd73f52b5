"""Inpainters: ways to replace a part of a face (§4.1, §5.1).

Inpainting invents: the result may have a higher quality, but it is not the person. Never enrol it.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from plqlite.networks.model import check_range

Inpainter = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # image (3, H, W), mask (H, W) -> image


def inpaint(image: torch.Tensor, mask: torch.Tensor, inpainter: Inpainter) -> torch.Tensor:
    """Inpaint a part of a face; what is outside it stays as it is.

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
        The mask is empty, covers everything, is not of bool or has another size; the pixels are not in 0..255
        (see `plqlite.networks.model.check_range`); the inpainter returns another shape.

    Examples
    --------
    >>> image, mask = torch.tensor([[[1.0, 2.0, 3.0]]]).expand(3, 1, 3), torch.tensor([[True, False, False]])
    >>> inpaint(image, mask, mirror)[0]
    tensor([[3., 2., 3.]])
    """
    if mask.shape != image.shape[-2:]:
        raise ValueError(
            f"The mask is {tuple(mask.shape)}, the image {tuple(image.shape)}: give a mask of the same size."
        )
    if mask.dtype != torch.bool:
        raise ValueError(f"The mask is of {mask.dtype}: compare it with a threshold to make it of bool.")
    if not 0 < mask.sum() < mask.numel():
        raise ValueError(
            f"The mask covers {mask.sum()} of {mask.numel()} pixels: inpainting takes a mask that covers a "
            "part of the image."
        )
    check_range(image[None])
    inpainted = inpainter(image, mask)
    if inpainted.shape != image.shape:
        raise ValueError(
            f"The inpainter returned {tuple(inpainted.shape)} for an image of {tuple(image.shape)}: it must "
            "keep the shape."
        )
    return torch.where(mask, inpainted.to(image), image)


def mirror(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Copy from the other half of the face; what is masked on both sides is left to `telea`.

    Examples
    --------
    >>> image, mask = torch.tensor([[[9.0, 2.0, 3.0]]]).expand(3, 1, 3), torch.tensor([[True, False, False]])
    >>> mirror(image, mask)[0]
    tensor([[3., 2., 3.]])
    """
    return _mirrored(image, mask, telea)


def average_face(faces: torch.Tensor) -> Inpainter:
    """Build an inpainter that knows what faces look like: `mirror`, with an average face in place of Telea.

    The average is given the mean and the contrast of what is visible.

    Parameters
    ----------
    faces : (N, 3, H, W) aligned as the image will be, RGB, 0..255; not of the person to be inpainted

    Returns
    -------
    Inpainter

    Raises
    ------
    ValueError
        There are no faces, or their pixels are not in 0..255.

    Examples
    --------
    >>> inpainter = average_face(torch.rand(5, 3, 112, 112) * 255)
    >>> mask = torch.zeros(112, 112, dtype=torch.bool)
    >>> mask[40:60, 40:70] = True
    >>> inpaint(torch.rand(3, 112, 112) * 255, mask, inpainter).shape
    torch.Size([3, 112, 112])
    """
    if not len(faces):
        raise ValueError("0 faces: an average takes one or more.")
    check_range(faces)
    average = torch.cat([faces, faces.flip(-1)]).mean(0)  # (3, H, W)

    def from_average(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen, known = image[:, ~mask], average.to(image)[:, ~mask]  # (3, n) each
        contrast = seen.std(1) / known.std(1).clamp_min(1)  # (3,)
        shifted = (average.to(image) - known.mean(1)[:, None, None]) * contrast[:, None, None]
        return torch.where(mask, (shifted + seen.mean(1)[:, None, None]).clamp(0, 255), image)

    return lambda image, mask: _mirrored(image, mask, from_average)


def _mirrored(image: torch.Tensor, mask: torch.Tensor, otherwise: Inpainter) -> torch.Tensor:
    """Copy from the other half, then use another inpainter for what is masked there, too."""
    both = mask & mask.flip(-1)
    image = torch.where(mask & ~both, image.flip(-1), image)
    return torch.where(both, otherwise(image, both), image) if both.any() else image


def telea(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Carry colours inwards from the border (Telea 2004; OpenCV).

    Examples
    --------
    >>> mask = torch.zeros(9, 9, dtype=torch.bool)
    >>> mask[4, 4] = True
    >>> telea(torch.where(mask, 0.0, 90.0).expand(3, 9, 9), mask)[:, 4, 4]
    tensor([90., 90., 90.])
    """
    return _opencv(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Carry lines of equal brightness inwards (Bertalmio, Bertozzi & Sapiro 2001; OpenCV).

    Examples
    --------
    >>> mask = torch.zeros(9, 9, dtype=torch.bool)
    >>> mask[4, 4] = True
    >>> navier_stokes(torch.where(mask, 0.0, 90.0).expand(3, 9, 9), mask)[:, 4, 4]
    tensor([90., 90., 90.])
    """
    return _opencv(image, mask, cv2.INPAINT_NS)


def _opencv(image: torch.Tensor, mask: torch.Tensor, method: int) -> torch.Tensor:
    """Let OpenCV inpaint, from a neighbourhood of three pixels."""
    return to_image(cv2.inpaint(to_array(image), mask.cpu().numpy().astype(np.uint8), 3, method), image)


def biharmonic(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Stretch the smoothest surface over the hole (scikit-image).

    Examples
    --------
    >>> mask = torch.zeros(9, 9, dtype=torch.bool)
    >>> mask[4, 4] = True
    >>> biharmonic(torch.where(mask, 0.0, 90.0).expand(3, 9, 9), mask)[:, 4, 4].round()
    tensor([90., 90., 90.])
    """
    smooth = inpaint_biharmonic(to_array(image), mask.cpu().numpy(), channel_axis=2)  # 0..1
    return to_image((255 * smooth).clip(0, 255), image)


def lama(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Inpaint with a network (LaMa, arXiv 2109.07161), if the package simple-lama-inpainting is installed.

    That package asks for versions of its dependencies that conflict with ours, so install it without them:
    pip install --no-deps simple-lama-inpainting fire. It downloads 196 MB and does not check a hash; to use a
    file that you trust, set LAMA_MODEL to its path.

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
    inpainted = SimpleLama(image.device)(to_array(image), mask.cpu().numpy().astype(np.uint8) * 255)
    height, width = image.shape[-2:]
    return to_image(np.asarray(inpainted)[:height, :width], image)  # it pads to a multiple of eight


INPAINTERS: dict[str, Inpainter] = {
    "mirror": mirror,
    "telea": telea,
    "navier_stokes": navier_stokes,
    "biharmonic": biharmonic,
    "lama": lama,
}


def to_array(image: torch.Tensor) -> np.ndarray:
    """Turn an image (3, H, W) in 0..255 into (H, W, 3) of uint8.

    Examples
    --------
    >>> to_array(torch.full((3, 1, 1), 254.6)).tolist()
    [[[255, 255, 255]]]
    """
    return np.ascontiguousarray(image.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())


def to_image(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Turn (H, W, 3) into a tensor (3, H, W) of the type and on the device of another.

    Examples
    --------
    >>> to_image(np.zeros((4, 4, 3), np.uint8), like=torch.ones(1)).dtype
    torch.float32
    """
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).to(like)
