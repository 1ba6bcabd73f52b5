"""Maps to compare a PLQ map with: (model, images) -> (B, H, W), higher where more important.

Some know nothing of the image, some nothing of the network, some nothing of its quality. A map that does not
beat these says no more than they do.
"""

import zlib
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from skimage.filters import sobel
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from plqlite.evidence import signal_and_noise
from plqlite.explanation import explain
from plqlite.networks.model import FaceModel
from plqlite.quality import closed_form_quality, ser_fiq_closed_form

Map = Callable[[FaceModel, torch.Tensor], torch.Tensor]
BUDGET = 98  # forward passes of RISE


def head_of(model: FaceModel) -> torch.nn.Linear:
    """Return the head of a model; the closed form and the evidence refuse one that is not affine."""
    return cast(torch.nn.Linear, model.head)


def quality_of(model: FaceModel, features: torch.Tensor) -> torch.Tensor:
    """Return Q of features (B, D) in closed form, (B,), with its gradient."""
    return closed_form_quality(head_of(model), features)


def quality_of_cells(model: FaceModel, cells: torch.Tensor) -> torch.Tensor:
    """Return Q of the cells (B, C, h, w) of the last feature map, (B,); the head takes all, or their mean."""
    averaged = cells.shape[1] == head_of(model).in_features
    return quality_of(model, cells.mean((2, 3)) if averaged else cells.flatten(1))


def enlarged(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Enlarge coarse maps (B, h, w) to (B, size, size).

    Examples
    --------
    >>> enlarged(torch.rand(1, 7, 7), 112).shape
    torch.Size([1, 112, 112])
    """
    return interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]


# --- that know nothing of the network ---


def at_random(seed: int = 0) -> Map:
    """Return noise: other noise for another image, the same for the same."""

    def rival(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        seeds = [zlib.crc32(each.numpy().tobytes(), seed) for each in images.round().byte().cpu()]
        draws = [torch.Generator().manual_seed(each) for each in seeds]
        return torch.stack([torch.rand(images.shape[-2:], generator=each) for each in draws]).to(images)

    return rival


def centre(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return a Gaussian in the middle, with a standard deviation of a quarter of the width."""
    place = torch.linspace(-2, 2, model.size).square()
    return torch.exp(-(place[:, None] + place[None]) / 2).to(images).expand(len(images), -1, -1)


def fixed(average: torch.Tensor) -> Map:
    """Return one map (H, W) for all images, such as the mean over other faces."""
    return lambda model, images: average.to(images).expand(len(images), -1, -1)


def edges(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return Sobel's edges of the grey image."""
    grey = images.mean(1).cpu().numpy()
    return torch.from_numpy(np.stack([sobel(each) for each in grey])).to(images)


def typicality(model: FaceModel, others: torch.Tensor, see: Map | None = None) -> Map:
    """Return how like each place is to that of other faces: minus the mean squared z-score of its values.

    Parameters
    ----------
    model : that the map is for
    others : (N, 3, H, W) aligned, RGB 0..255
    see : what values a place has, such as `FaceModel.cells`; the colours, 28×28, if not said
    """

    @torch.no_grad()
    def seen(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        return adaptive_avg_pool2d(images, 28) if see is None else see(model, images)  # (B, C, h, w)

    usual = torch.cat([seen(model, batch) for batch in others.split(32)])
    mean, std = usual.mean(0), usual.std(0).clamp_min(1e-3)

    def rival(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        z = (seen(model, images) - mean) / std
        return enlarged(-z.square().mean(1), model.size)

    return rival


# --- of one backward pass ---


def saliency(reading: str) -> Map:
    """Return Ŝ, whose order is that of the PLQ map, under a reading of Eq. 3."""
    return lambda model, images: explain(model, images, reading=reading).saliency


def part(name: str) -> Map:
    """Return a map of `explain`: pattern, deviation, signal or noise."""
    return lambda model, images: enlarged(getattr(explain(model, images), name), model.size)


@torch.enable_grad()
def quality_gradient(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return the gradient of Q itself, not of the quality node, (B, 3, H, W): the closed form has one."""
    images = images.detach().clone().requires_grad_()
    quality = quality_of(model, model.features(images))
    return torch.autograd.grad(quality.sum(), images)[0]


def gradient(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return the magnitude of the gradient of Q."""
    return quality_gradient(model, images).abs().mean(1)


@torch.enable_grad()
def grad_cam(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return gradient × activation of Q at the last feature map, summed over its channels."""
    cells = model.cells(images).detach().requires_grad_()
    (slope,) = torch.autograd.grad(quality_of_cells(model, cells).sum(), cells)
    return enlarged((slope * cells).sum(1).detach(), model.size)


# --- of several passes ---


@torch.no_grad()
def leave_one_cell_out(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return how far Q falls without a cell of the last feature map; one forward pass of the backbone."""
    cells = model.cells(images)  # (B, C, h, w)
    before = quality_of_cells(model, cells)
    falls = torch.zeros_like(cells[:, 0])  # (B, h, w)
    for row, column in np.ndindex(*falls.shape[1:]):
        without = cells.clone()
        without[..., row, column] = 0
        falls[:, row, column] = before - quality_of_cells(model, without)
    return enlarged(falls, model.size)


def smoothed(rival: Map, draws: int = 8, sigma: float = 10.0, seed: int = 0) -> Map:
    """Return the mean of a map over noisy copies of the image (SmoothGrad, arXiv 1706.03825)."""

    def smooth(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros_like(images[:, 0])
        for _ in range(draws):
            noise = torch.randn(images.shape, generator=generator).to(images) * sigma
            total += rival(model, (images + noise).clamp(0, 255))
        return total / draws

    return smooth


def integrated_gradients(baseline: torch.Tensor, steps: int = 16) -> Map:
    """Return the gradients of Q on the way from another image (3, H, W) (arXiv 1703.01365), as magnitudes."""

    def rival(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        start = baseline.to(images)
        places = (torch.arange(steps) + 0.5) / steps
        way = sum(quality_gradient(model, start + place * (images - start)) for place in places.tolist())
        return ((images - start) * way / steps).sum(1).abs()

    return rival


def occlusion(baseline: torch.Tensor, side: int = 14) -> Map:
    """Return how far Q falls if a place is replaced by that of another image; side² forward passes."""

    @torch.no_grad()
    def rival(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        before = ser_fiq_closed_form(model, images)
        falls = torch.zeros(len(images), side, side).to(images)
        edge = torch.linspace(0, model.size, side + 1).round().int().tolist()
        for row, column in np.ndindex(side, side):
            covered = images.clone()
            where = (..., slice(edge[row], edge[row + 1]), slice(edge[column], edge[column + 1]))
            covered[where] = baseline.to(images)[where]
            falls[:, row, column] = before - ser_fiq_closed_form(model, covered)
        return enlarged(falls, model.size)

    return rival


def rise(baseline: torch.Tensor, passes: int = BUDGET, seed: int = 0) -> Map:
    """Return the mean Q of random mixtures with another image that show a place (RISE, arXiv 1806.07421)."""

    @torch.no_grad()
    def rival(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        masks = enlarged((torch.rand(passes, 8, 8, generator=generator) < 0.5).float(), model.size).to(images)
        total = torch.zeros_like(images[:, 0])
        for mask in masks:
            mixed = baseline.to(images) + mask * (images - baseline.to(images))
            total += ser_fiq_closed_form(model, mixed)[:, None, None] * mask
        return total / masks.sum(0).clamp_min(1e-6)

    return rival


def energy(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return Σ f² of each cell of the last feature map: no head."""
    with torch.no_grad():
        return enlarged(model.cells(images).square().sum(1), model.size)


def evidence_ratio(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return how much signal each cell has for its noise."""
    with torch.no_grad():
        signal, noise = signal_and_noise(head_of(model), model.cells(images))
    return enlarged(signal / noise.abs().sqrt().clamp_min(1e-6), model.size)


def all_rivals(
    model: FaceModel, others: torch.Tensor, mean_map: torch.Tensor, seed: int = 0
) -> dict[str, Map]:
    """Return all maps by name.

    Parameters
    ----------
    model : that the maps are for
    others : (N, 3, H, W) aligned faces of other people, RGB 0..255
    mean_map : (H, W), the mean PLQ map of these
    seed : of random maps, noise and masks

    Examples
    --------
    >>> import plqlite
    >>> list(all_rivals(plqlite.sface(), torch.rand(2, 3, 112, 112) * 255, torch.rand(112, 112)))[:3]
    ['random', 'centre', 'mean map of others']
    """
    average = others.mean(0)  # (3, H, W)
    return {
        "random": at_random(seed),
        "centre": centre,
        "mean map of others": fixed(mean_map),
        "edges": edges,
        "typical colours": typicality(model, others),
        "typical features": typicality(model, others, FaceModel.cells),
        "PLQ, signed": saliency("signed"),
        "PLQ, summed": saliency("summed"),  # and literal: both weigh all features alike, and have one order
        "PLQ, smoothed": smoothed(saliency("signed"), seed=seed),
        "pattern": part("pattern"),
        "deviation": part("deviation"),
        "signal": part("signal"),
        "noise": part("noise"),
        "energy of cells": energy,
        "signal for noise": evidence_ratio,
        "leave one cell out": leave_one_cell_out,
        "gradient of Q": gradient,
        "gradient of Q, smoothed": smoothed(gradient, seed=seed),
        "integrated gradients": integrated_gradients(average),
        "Grad-CAM of Q": grad_cam,
        "occlusion, 49 places": occlusion(average, 7),
        "occlusion, 196 places": occlusion(average, 14),
        f"RISE, {BUDGET} masks": rise(average, seed=seed),
    }
