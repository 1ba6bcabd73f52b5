"""Disturbances of aligned faces whose place is known: square masks, in any colour."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch

# Twelve colours that are far from each other, from dark to bright; the paper's Figure 13 shows twelve, too.
COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "brown": (139, 69, 19),
    "red": (255, 0, 0),
    "grey": (128, 128, 128),
    "green": (0, 160, 0),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "cyan": (0, 255, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
INNER = 0.9  # the share of height and width in which masks lie (§4.1)
SIZES = (10, 20, 30, 40, 50)  # sides of the masks in an image of 112 pixels (§4.1)


def random_mask(
    image: torch.Tensor, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cover a square somewhere on a face with black (§4.1).

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255
    size : side of the square in pixels of this image; see `scaled_size`
    rng : draws the place, within the inner 90 % of the image

    Returns
    -------
    masked image (3, H, W), mask (H, W) of bool

    Raises
    ------
    ValueError
        No such square fits.

    Examples
    --------
    >>> masked, mask = random_mask(images[0], size=30, rng=np.random.default_rng(0))
    >>> mask.sum()
    tensor(900)
    """
    shape = image.shape[-2:]
    margins = [math.ceil((1 - INNER) / 2 * side - 1e-9) for side in shape]  # 1e-9: of 0.1 / 2
    largest = min(side - 2 * margin for side, margin in zip(shape, margins, strict=True))
    if not 1 <= size <= largest:
        raise ValueError(
            f"A mask of {size} pixels does not fit into the inner {INNER:.0%} of an image of "
            f"{shape[1]}×{shape[0]}: choose 1 to {largest}."
        )
    top, left = (
        int(rng.integers(margin, side - margin - size + 1))
        for side, margin in zip(shape, margins, strict=True)
    )
    mask = torch.zeros(shape, dtype=torch.bool, device=image.device)
    mask[top : top + size, left : left + size] = True
    return coloured_mask(image, mask, COLOURS["black"]), mask


def coloured_mask(image: torch.Tensor, mask: torch.Tensor, colour: Sequence[float]) -> torch.Tensor:
    """Cover a part of a face with one colour (§8.4.1).

    Parameters
    ----------
    image : (3, H, W) RGB, 0..255
    mask : (H, W) of bool, what to cover
    colour : RGB, 0..255, such as COLOURS["red"] or `skin_colour(image)`

    Returns
    -------
    (3, H, W)

    Examples
    --------
    >>> coloured_mask(image, mask, skin_colour(image)).shape
    torch.Size([3, 112, 112])
    """
    return torch.where(mask, torch.as_tensor(colour).to(image).reshape(3, 1, 1), image)


def skin_colour(image: torch.Tensor) -> tuple[float, ...]:
    """Measure the colour of a face: the median of nose and cheeks in an aligned image.

    Parameters
    ----------
    image : (3, H, W) aligned RGB, 0..255

    Returns
    -------
    RGB, 0..255

    Examples
    --------
    >>> red, green, blue = skin_colour(images[0])
    """
    height, width = image.shape[-2:]
    rows = slice(round(0.52 * height), round(0.72 * height))  # below the eyes, above the mouth
    columns = slice(round(0.3 * width), round(0.7 * width))
    return tuple(image[:, rows, columns].flatten(1).median(dim=1).values.tolist())


def scaled_size(size: int, width: int) -> int:
    """Turn the side of a mask in an image of 112 pixels into that in an image of another width.

    Examples
    --------
    >>> scaled_size(50, width=160)
    71
    """
    return round(size * width / 112)


def place_generator(seed: int, size: int, name: str) -> np.random.Generator:
    """Return the generator of a mask's place: of this image alone, in whatever order a set is gone through.

    Parameters
    ----------
    seed : chooses another place for every size and image
    size : side of the mask at 112 pixels
    name : of the image

    Examples
    --------
    >>> masked, mask = random_mask(image, 30, place_generator(0, 30, "ada/1.png"))
    """
    return np.random.default_rng([seed, size, zlib.crc32(name.encode())])
