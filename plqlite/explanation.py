"""The three steps in one: a batch of face images in, their quality and quality maps out."""

import warnings
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn.functional import normalize
from torchvision.transforms.v2.functional import gaussian_blur

from plqlite.evidence import signal_and_noise
from plqlite.files import write_aside
from plqlite.networks.model import FaceModel, check_images
from plqlite.networks.precision import full_precision
from plqlite.quality import closed_form_quality, robustness, scale_quality, stochastic_embeddings
from plqlite.reference import deviation, maps_of
from plqlite.regression import node_weights, quality_node
from plqlite.saliency import mean_over_channels, pixel_gradient, pixel_level_quality


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` finds out about B images.

    Attributes
    ----------
    quality : Q (Eq. 1), (B,), comparable between images of one model
    scaled_quality : Q̂ (Eq. 2), (B,), 0..1: how good
    saliency : Ŝ (Eq. 5), (B, H, W), in Q̂ per grey level
    plq : pixel-level quality P (Eq. 7), (B, H, W), 0..1: how good and where, in one
    pattern : where alone, (B, H, W), 0..1: P as it would be at Q̂ = ½, smoothed; see `pattern_of`
    signal, noise : what each cell of the last feature map adds to the embedding and to its uncertainty,
        (B, h, w), see `plqlite.evidence`; None for a network whose features have no places
    deviation : z-score against clean faces at each place, (B, H, W), negative where lower; None without
        reference statistics
    calibrated : whether the model had a scaling; without one Q̂ is Q itself, and the level of P means nothing
    model : that explains; a picture needs its development set, and where the parts of a face are
    """

    quality: torch.Tensor
    scaled_quality: torch.Tensor
    saliency: torch.Tensor
    plq: torch.Tensor
    pattern: torch.Tensor
    signal: torch.Tensor | None = None
    noise: torch.Tensor | None = None
    deviation: torch.Tensor | None = None
    calibrated: bool = True
    model: FaceModel | None = field(default=None, repr=False)

    def __getitem__(self, index: int) -> "Explanation":
        """Return the explanation of one image, as a batch of one."""
        one: dict[str, Any] = {name: value[index, None] for name, value in self._tensors().items()}
        return replace(self, **one)

    def numpy(self) -> dict[str, np.ndarray]:
        """Return the numbers and maps as NumPy arrays by name; those that are None are left out."""
        return {name: value.cpu().numpy() for name, value in self._tensors().items()}

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Return the fields that are tensors by name."""
        return {name: value for name, value in vars(self).items() if torch.is_tensor(value)}

    def save(self, path: str | Path) -> None:
        """Write what `numpy` returns to an .npz file, which appears only when it is complete.

        Raises
        ------
        OSError
            The file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "plq.npz")
        >>> Explanation(*torch.rand(2, 1), *torch.rand(3, 1, 112, 112)).save(path)
        >>> np.load(path)["plq"].shape
        (1, 112, 112)
        """
        arrays: dict = self.numpy()
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))


ON_CPU, ON_GPU = 16, 64  # images at a time: on a CPU more take longer, on a GPU up to 80 MB each


def explain(
    model: FaceModel,
    images: torch.Tensor,
    passes: int | None = None,
    seed: int = 0,
    reading: str = "signed",
    dropout: float = 0.5,
    batch: int | None = None,
) -> Explanation:
    """Explain for every pixel how useful it is for recognition (Eq. 1 to 7).

    It takes one forward pass of the backbone and one backward pass, however many dropout passes; many images
    are split into batches. Q is the closed form of Eq. 1, which gives the mean over all draws of 100 masks:
    no luck of a draw, and the same number each time. `passes=100` draws masks, as the paper does, and
    estimates the same number: α, r and γ serve both. A head that is not affine has no closed form, and 100
    passes are drawn.

    Parameters
    ----------
    model : a FaceModel
    images : (B, 3, size, size) aligned RGB, 0..255
    passes : dropout passes m to be drawn; None for the closed form
    seed : chooses the dropout masks, where any are drawn; 0 to 2³² − 1
    reading : of Eq. 3, see `node_weights`; γ was fitted for "signed", so P of the others is off in level
    dropout : share of features set to zero
    batch : images at a time, 1 or more; None for 16, or 64 on a GPU

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        Bad images (see `check_images`), passes below 2, a dropout outside (0, 1) or that leaves fewer than
        four features, another seed or reading; NaN in the network.
    DropoutHasNoEffect
        The embeddings of an image do not vary under dropout.

    Warns
    -----
    UserWarning
        The model has no scaling; see `plqlite.calibrate`.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> explain(model, plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).plq.shape
    torch.Size([1, 112, 112])
    """
    check_images(images, model)
    _check_numbers(passes, seed, dropout, batch)
    if batch is not None and batch < 1:
        raise ValueError(f"batch={batch}: give 1 or more, or None.")
    if model.scaling is None:
        warnings.warn(
            f"{model.name} is not calibrated: Q̂ is the raw Q, and the level of P means nothing (its order "
            "does). Fit its own constants with  model.scaling = plqlite.calibrate(model, images)",
            stacklevel=2,
        )
    some = images.split(at_a_time(images.device) if batch is None else batch)
    return _joined([_explain(model, each, passes, seed, reading, dropout) for each in some])


def at_a_time(device: torch.device) -> int:
    """Return how many images a device takes at a time.

    Examples
    --------
    >>> at_a_time(torch.device("cpu")), at_a_time(torch.device("cuda"))
    (16, 64)
    """
    return ON_CPU if device.type == "cpu" else ON_GPU


def _check_numbers(passes: int | None, seed: int, dropout: float, batch: int | None) -> None:
    """Refuse what is no number, before torch does so in its own words."""
    for name, value in {"passes": passes, "seed": seed, "batch": batch}.items():
        if not (isinstance(value, Integral) or (value is None and name != "seed")):
            raise TypeError(f"{name}={value!r}: give a whole number.")
    if not isinstance(dropout, Real):
        raise TypeError(f"dropout={dropout!r}: give a share between 0 and 1.")


@torch.inference_mode(False)  # and with gradients, whatever the caller has chosen
@torch.enable_grad()
@full_precision()
def _explain(
    model: FaceModel, images: torch.Tensor, passes: int | None, seed: int, reading: str, dropout: float
) -> Explanation:
    """Explain as many images as fit into memory, see `explain`."""
    images = images.detach().clone().requires_grad_()
    features, cells = model.features_and_cells(images)  # (B, D): the one forward pass of the backbone
    with torch.no_grad():  # Eq. 3 takes the quality as a constant
        quality = _quality(model.head, features, passes, seed, dropout)
        constants = model.scaling
        scaled = quality if constants is None else scale_quality(quality, constants.alpha, constants.r)
        head = cast(torch.nn.Linear, model.head)  # if there are cells
        evidence = () if cells is None else signal_and_noise(head, cells, dropout)
    embedding = normalize(model.head(features), dim=-1)  # (B, d)
    output = quality_node(embedding, node_weights(embedding, scaled, reading))  # (B,)
    saliency = mean_over_channels(pixel_gradient(output, images))  # (B, H, W): the one backward pass
    plq = pixel_level_quality(saliency, gamma_of(model))
    pattern = pattern_of(saliency, scaled, gamma_of(model))
    reference = model.reference_statistics
    z = None if reference is None else deviation(maps_of(saliency, *evidence), reference, model.size)
    signal, noise = evidence or (None, None)
    calibrated = constants is not None
    return Explanation(quality, scaled, saliency, plq, pattern, signal, noise, z, calibrated, model)


def _joined(batches: list[Explanation]) -> Explanation:
    """Put the explanations of several batches into one."""
    tensors = {name: torch.cat([getattr(each, name) for each in batches]) for name in batches[0]._tensors()}
    together: dict[str, Any] = tensors
    return replace(batches[0], **together)


def _quality(
    head: torch.nn.Module, features: torch.Tensor, passes: int | None, seed: int, dropout: float
) -> torch.Tensor:
    """Return Q: the closed form unless masks are asked for, or the head is not affine."""
    if passes is None and isinstance(head, torch.nn.Linear):
        return closed_form_quality(head, features, dropout)
    masks = 100 if passes is None else passes
    return robustness(stochastic_embeddings(head, features, masks, dropout, seed))


def pattern_of(saliency: torch.Tensor, scaled_quality: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return where a face is useful, whatever its quality: P as it would be at Q̂ = ½, smoothed.

    Ŝ is Q̂ times a pattern (see `plqlite.regression`): a photo of low Q̂ has a map that is low all over. Here
    every photo has the same level. The Gaussian has a standard deviation of a fortieth of the width.

    Parameters
    ----------
    saliency : (B, H, W), Ŝ
    scaled_quality : (B,), Q̂
    gamma : of Eq. 6

    Returns
    -------
    (B, H, W), 0..1

    Examples
    --------
    >>> saliency, scaled = torch.rand(1, 40, 40) * 1e-5, torch.tensor([0.8])
    >>> torch.allclose(pattern_of(saliency, scaled, 11), pattern_of(saliency / 8, scaled / 8, 11))
    True
    """
    level = scaled_quality.clamp_min(1e-30)[:, None, None]
    plq = pixel_level_quality(saliency / level / 2, gamma)  # (B, H, W)
    sigma = saliency.shape[-1] / 40
    width = 2 * round(3 * sigma) + 1
    for kernel in ([width, 1], [1, width]):  # one axis after the other: the same in less time
        plq = gaussian_blur(plq, kernel, [sigma, sigma])
    return plq


def gamma_of(model: FaceModel) -> float:
    """Return a model's γ; before it is fitted a nominal one, of no model, with which a map can be drawn.

    Examples
    --------
    >>> import plqlite
    >>> gamma_of(plqlite.sface()) == plqlite.sface().scaling.gamma
    True
    """
    return 11.5 if model.scaling is None else model.scaling.gamma
