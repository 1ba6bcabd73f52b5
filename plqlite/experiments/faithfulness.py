"""Is a map right? What happens to the embedding and to the quality when a place of the image is changed.

A map that looks like a face convinces everybody. These measures change the image and look.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torchvision.transforms.v2.functional import gaussian_blur

from plqlite.experiments.rivals import Map, quality_of
from plqlite.experiments.statistics import ascending
from plqlite.networks.model import FaceModel

PATCH = 16  # pixels at 112
SHARES = np.linspace(0, 0.95, 20)  # of the pixels that are deleted or inserted

Measure = Callable[[torch.Tensor], torch.Tensor]  # images (B, 3, H, W) -> (B,)
Fill = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # image (3, H, W), mask (H, W) -> (3, H, W)


class Effects(NamedTuple):
    """What replacing each of K patches of one image did."""

    places: torch.Tensor  # (K, 2): top, left
    side: int  # of a patch
    shift: np.ndarray  # (K,), distance of the embedding from where it was
    fall: np.ndarray  # (K,), how far Q fell


@torch.no_grad()
def embedding_and_quality(model: FaceModel, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings (B, d) and Q (B,) in one forward pass.

    Examples
    --------
    >>> import plqlite
    >>> e, q = embedding_and_quality(plqlite.sface(), torch.full((1, 3, 112, 112), 99.0))
    >>> e.shape, q.shape
    (torch.Size([1, 128]), torch.Size([1]))
    """
    features = model.features(images)
    embeddings = torch.nn.functional.normalize(model.head(features), dim=-1)
    return embeddings, quality_of(model, features)


def intervene(
    model: FaceModel, image: torch.Tensor, filled: torch.Tensor, row: int = 13, patch: int = PATCH
) -> Effects:
    """Slide a patch over a face, replace what is under it, and measure embedding and quality each time.

    Parameters
    ----------
    model : a FaceModel
    image : (3, size, size) RGB, 0..255
    filled : (3, size, size), what a patch is replaced by, see `fills`
    row : places in a row; row² in all
    patch : side of the patch in an image of 112 pixels; scaled for other sizes

    Returns
    -------
    Effects

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> image = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)[0]
    >>> intervene(model, image, torch.full_like(image, 127.0), row=2).shift.shape
    (4,)
    """
    side = round(patch * model.size / 112)
    edge = torch.linspace(0, model.size - side, row).round().int()
    places = torch.cartesian_prod(edge, edge)  # (K, 2)
    images = image.repeat(len(places), 1, 1, 1)
    for changed, (top, left) in zip(images, places.tolist(), strict=True):
        where = (..., slice(top, top + side), slice(left, left + side))
        changed[where] = filled[where]
    e, q = (each[0] for each in embedding_and_quality(model, image[None]))
    after = [embedding_and_quality(model, batch) for batch in images.split(8)]
    shift = torch.cat([(embeddings - e).norm(dim=-1) for embeddings, _ in after])
    fall = torch.cat([q - quality for _, quality in after])
    return Effects(places, side, shift.cpu().numpy(), fall.cpu().numpy())


def agreement(values: torch.Tensor, effects: Effects) -> dict[str, float]:
    """Return how well the mean of a map (H, W) in each patch ranks what replacing the patch did.

    Returns
    -------
    "shift" and "fall" -> Spearman's ρ, −1..1; 0 for a map that is the same everywhere.

    Examples
    --------
    >>> effects = Effects(torch.tensor([[0, 0], [0, 2]]), 2, np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    >>> {name: round(rho, 3) for name, rho in agreement(torch.tensor([[0.0, 0, 1, 1]] * 2), effects).items()}
    {'shift': 1.0, 'fall': -1.0}
    """
    corners, side = effects.places.tolist(), effects.side
    means = [values[top : top + side, left : left + side].mean().item() for top, left in corners]
    if np.ptp(means) == 0:
        return {"shift": 0.0, "fall": 0.0}
    return {name: float(spearmanr(means, getattr(effects, name)).statistic) for name in ("shift", "fall")}


# --- what takes the place of pixels ---


def fills(average: torch.Tensor) -> dict[str, Fill]:
    """Return the ways to replace pixels: the average of other faces (3, H, W), a blur, the mean colour, ROAD.

    Examples
    --------
    >>> list(fills(torch.zeros(3, 112, 112)))
    ['average face', 'blur', 'mean colour', 'imputed']
    """
    return {
        "average face": lambda image, mask: torch.where(mask, average.to(image), image),
        "blur": lambda image, mask: torch.where(mask, blurred(image), image),
        "mean colour": lambda image, mask: torch.where(mask, image.mean((1, 2), keepdim=True), image),
        "imputed": imputed,
    }


def blurred(image: torch.Tensor) -> torch.Tensor:
    """Blur an image (3, H, W) by a Gaussian with a standard deviation of a tenth of its width."""
    sigma = image.shape[-1] / 10
    return gaussian_blur(image[None], [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)[0]


def imputed(image: torch.Tensor, mask: torch.Tensor, noise: float = 2.0, seed: int = 0) -> torch.Tensor:
    """Replace pixels by the mean of their neighbours and a little noise (ROAD, arXiv 2202.00449).

    Each masked pixel is a sixth of its four neighbours and a twelfth of its diagonal ones; where these are
    masked, too, the equations are solved together. So the shape of the mask gives nothing away.

    Parameters
    ----------
    image : (3, H, W) RGB, 0..255
    mask : (H, W) of bool, what to replace
    noise : standard deviation in grey levels
    seed : of the noise

    Examples
    --------
    >>> mask = torch.zeros(9, 9, dtype=torch.bool)
    >>> mask[4, 4] = True
    >>> imputed(torch.where(mask, 0.0, 90.0).expand(3, 9, 9), mask, noise=0)[:, 4, 4]
    tensor([90., 90., 90.])
    """
    height, width = mask.shape
    unknown = mask.flatten().cpu().numpy()
    if not unknown.any():
        return image
    number = np.cumsum(unknown) - 1  # of each unknown pixel
    rows, columns, weights = _neighbours(mask.cpu().numpy())
    pixels = image.reshape(3, -1).cpu().double().numpy()
    known = ~unknown[columns]
    size = int(unknown.sum())
    total = np.bincount(number[rows], weights, size)  # less than 1 at the border
    right = [np.bincount(number[rows[known]], (weights * each[columns])[known], size) for each in pixels]
    pairs = number[rows[~known]], number[columns[~known]]
    system = diags(total) - csr_matrix((weights[~known], pairs), shape=(size, size))
    solved = spsolve(system.tocsc(), np.stack(right, axis=1))
    solved = solved.reshape(size, 3) + np.random.default_rng(seed).normal(0, noise, (size, 3))
    pixels[:, unknown] = solved.T.clip(0, 255)
    return torch.from_numpy(pixels.reshape(3, height, width)).to(image)


def _neighbours(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return masked pixel, neighbour and weight of each pair, as places in the flattened image."""
    height, width = mask.shape
    top, left = np.nonzero(mask)
    found = []
    for down, right in [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1) if d or r]:
        row, column = top + down, left + right
        there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weight = 1 / 12 if down and right else 1 / 6
        pixel, neighbour = (top * width + left)[there], (row * width + column)[there]
        found.append((pixel, neighbour, np.full(len(pixel), weight)))
    rows, columns, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    return rows, columns, weights


# --- deletion and insertion ---


def ranked(values: torch.Tensor, seed: int = 0) -> np.ndarray:
    """Return the pixels of a map (H, W) from the highest to the lowest; equal ones are in random order.

    Examples
    --------
    >>> ranked(torch.tensor([[0.1, 0.9], [0.5, 0.2]])).tolist()
    [1, 2, 3, 0]
    """
    return ascending(-values.flatten().cpu().double().numpy(), seed)


def deletion(
    measure: Measure,
    image: torch.Tensor,
    order: np.ndarray,
    fill: Fill,
    shares: Sequence[float] | np.ndarray = SHARES,
) -> np.ndarray:
    """Replace more and more pixels of an image, and measure each time.

    Parameters
    ----------
    measure : of images, such as the comparison score with another photo, or Q
    image : (3, H, W) RGB, 0..255
    order : pixels in the order in which they are replaced, see `ranked`
    fill : see `fills`
    shares : of the pixels that are replaced

    Returns
    -------
    One value for each share.

    Examples
    --------
    >>> measure, fill = lambda images: images.sum((1, 2, 3)), fills(torch.zeros(3, 2, 2))["average face"]
    >>> deletion(measure, torch.ones(3, 2, 2), np.arange(4), fill, [0, 0.5]).tolist()
    [12.0, 6.0]
    """
    mask, images = torch.zeros(order.size, dtype=torch.bool, device=image.device), []
    for share in shares:
        mask[torch.from_numpy(order[: round(share * order.size)].copy()).to(image.device)] = True
        images.append(fill(image, mask.view(image.shape[-2:])))
    with torch.no_grad():
        return np.concatenate([measure(batch).cpu().numpy() for batch in torch.stack(images).split(8)])


def relevance_gain(
    measure: Measure, image: torch.Tensor, values: torch.Tensor, fill: Fill, seed: int = 0
) -> float:
    """Return the area between two deletions: lowest pixels first, less highest pixels first (SRG).

    The symmetric relevance gain (Blücher, Vielhaben & Strodthoff 2024, arXiv 2401.06654) cancels what a
    random order would do: 0 for a map that knows nothing, below 0 for one that is upside down.

    Parameters
    ----------
    measure, image, fill : see `deletion`
    values : (H, W), a map
    seed : of the order of equal pixels

    Examples
    --------
    >>> image = torch.zeros(3, 4, 4)
    >>> image[:, :2] = 50.0
    >>> measure, fill = lambda images: images.mean((1, 2, 3)), fills(torch.zeros(3, 4, 4))["average face"]
    >>> relevance_gain(measure, image, image[0], fill) > 5
    True
    """
    order = ranked(values, seed)
    low_first, high_first = (deletion(measure, image, each, fill) for each in (order[::-1], order))
    return float(area_between(low_first, high_first))


def area_between(low_first: np.ndarray, high_first: np.ndarray) -> np.ndarray:
    """Return the mean distance over SHARES of curves, (..., 20) each, (...,).

    Examples
    --------
    >>> print(f"{area_between(np.full(20, 0.75), np.full(20, 0.25)):.2f}")
    0.50
    """
    return np.trapezoid(low_first - high_first, SHARES) / SHARES[-1]


# --- sanity ---


def randomised(model: FaceModel, seed: int = 0) -> Iterator[tuple[str, FaceModel]]:
    """Yield models with more and more random weights, from the head down (Adebayo et al., arXiv 1810.03292).

    The weights of a layer are drawn again with its own standard deviation. Yields after the head, and after
    each quarter of the layers of the backbone.

    Examples
    --------
    >>> import plqlite
    >>> [name for name, _ in randomised(plqlite.sface())]
    ['head', '25 %', '50 %', '75 %', '100 %']
    """
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    layers = [each for each in changed.backbone.parameters() if each.ndim > 1][::-1]  # the last first

    def shuffle(weights: Sequence[torch.nn.Parameter]) -> None:
        for weight in weights:
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            weight.data = noise * weight.std() + weight.mean()

    shuffle([each for each in changed.head.parameters() if each.ndim > 1])
    yield "head", changed
    quarters = np.array_split(np.arange(len(layers)), 4)
    for number, quarter in enumerate(quarters, start=1):
        shuffle([layers[index] for index in quarter])
        yield f"{25 * number} %", changed


def similarity(*maps: torch.Tensor) -> tuple[float, float]:
    """Return rank correlation and SSIM of two maps (H, W), each of them ranked.

    Examples
    --------
    >>> values = torch.rand(16, 16)
    >>> [round(each, 3) for each in similarity(values, values)]
    [1.0, 1.0]
    """
    one, other = (each.flatten().argsort().argsort().view(each.shape).double().cpu().numpy() for each in maps)
    alike = structural_similarity(one / one.max(), other / other.max(), data_range=1)
    return float(spearmanr(one.ravel(), other.ravel()).statistic), float(alike)


def max_sensitivity(
    rival: Map, model: FaceModel, image: torch.Tensor, radius: float = 2.0, draws: int = 5, seed: int = 0
) -> float:
    """Return how far a map moves, relative to its length, when pixels change by a few grey levels.

    The largest of some draws (Yeh et al. 2019, arXiv 1901.09392): lower is better, 0 for a map that does not
    look at the image.

    Parameters
    ----------
    rival : a map
    model, image : (3, size, size) RGB, 0..255
    radius : of the uniform noise, in grey levels
    draws : how often
    seed : of the noise

    Examples
    --------
    >>> import plqlite
    >>> from plqlite.experiments.rivals import centre
    >>> max_sensitivity(centre, plqlite.sface(), torch.full((3, 112, 112), 99.0))
    0.0
    """
    before = rival(model, image[None])[0]
    generator, largest = torch.Generator().manual_seed(seed), 0.0
    for _ in range(draws):
        noise = (2 * torch.rand(image.shape, generator=generator) - 1).to(image) * radius
        after = rival(model, (image + noise).clamp(0, 255)[None])[0]
        largest = max(largest, ((after - before).norm() / before.norm().clamp_min(1e-30)).item())
    return largest
