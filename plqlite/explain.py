"""The three steps in one: a batch of face images in, their quality and quality maps out."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch.nn.functional import normalize

from plqlite.models import FaceModel, check_images
from plqlite.quality import closed_form_quality, robustness, scale_quality, stochastic_embeddings
from plqlite.regression import node_weights, quality_node
from plqlite.saliency import mean_over_channels, pixel_gradient, pixel_level_quality


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` finds out about B images.

    Attributes
    ----------
    quality : Q (Eq. 1), (B,), comparable between images of one model
    scaled_quality : Q̂ (Eq. 2), (B,), 0..1
    saliency : Ŝ (Eq. 5), (B, H, W), in Q̂ per grey level
    plq : pixel-level quality P (Eq. 7), (B, H, W), 0..1
    """

    quality: torch.Tensor
    scaled_quality: torch.Tensor
    saliency: torch.Tensor
    plq: torch.Tensor

    @property
    def calibrated(self) -> bool:
        """Whether the model had a scaling; without one Q̂ is Q itself, and the level of P means nothing."""
        return self.scaled_quality is not self.quality

    def numpy(self) -> dict[str, np.ndarray]:
        """Return the four results as NumPy arrays by name."""
        return {name: value.cpu().numpy() for name, value in vars(self).items()}

    def save(self, path: str | Path) -> None:
        """Write the four results to an .npz file, which appears only when it is complete.

        Raises
        ------
        OSError
            The file cannot be written.

        Examples
        --------
        >>> explanation.save("plq.npz")
        >>> np.load("plq.npz")["plq"].shape
        (1, 112, 112)
        """
        write_aside(path, lambda file: np.savez_compressed(file, **self.numpy()))


def write_aside(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file aside and rename it, so that it is never half written and an old one survives a failure.

    Parameters
    ----------
    path : a file that exists or not; what a link points to is replaced, not the link
    write : gets the file, open for bytes

    Raises
    ------
    OSError
        The path is a folder or a device, or cannot be written.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file: give the name of a file to write.")
    aside = path.with_name(path.name + ".part")
    aside.unlink(missing_ok=True)  # left by a failure, or a link to somewhere else
    try:
        with aside.open("xb") as file:
            write(file)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@torch.enable_grad()
def explain(
    model: FaceModel,
    images: torch.Tensor,
    passes: int | None = 100,
    seed: int = 0,
    reading: str = "signed",
    dropout: float = 0.5,
) -> Explanation:
    """Explain for every pixel how useful it is for recognition (Eq. 1 to 7).

    One forward pass of the backbone and one backward pass, however many dropout passes.

    Parameters
    ----------
    model : a FaceModel
    images : (B, 3, size, size) aligned RGB, 0..255
    passes : dropout passes m; None for the closed form, which is their limit and draws nothing
    seed : chooses the dropout masks
    reading : of Eq. 3, see `node_weights`; γ was fitted for "signed", so P of the others is off in level
    dropout : share of features set to zero

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        Bad images (see `check_images`), passes below 2, a dropout outside (0, 1), another reading.
    DropoutHasNoEffect
        The embeddings of an image do not vary under dropout.

    Warns
    -----
    UserWarning
        The model has no scaling; see `plqlite.calibrate`.

    Examples
    --------
    >>> model = plqlite.sface()
    >>> plqlite.explain(model, plqlite.load_face("photo.jpg", model)).plq.shape
    torch.Size([1, 112, 112])
    """
    check_images(images, model)
    images = images.detach().requires_grad_()
    features = model.features(images)  # (B, D): the one forward pass of the backbone
    with torch.no_grad():  # Eq. 3 takes the quality as a constant
        if passes is None:
            quality = closed_form_quality(model.head, features, dropout)
        else:
            quality = robustness(stochastic_embeddings(model.head, features, passes, dropout, seed))
        scaled = _scale(quality, model)
    embedding = normalize(model.head(features), dim=-1)  # (B, d)
    output = quality_node(embedding, node_weights(embedding, scaled, reading))  # (B,)
    saliency = mean_over_channels(pixel_gradient(output, images))  # (B, H, W): the one backward pass
    return Explanation(quality, scaled, saliency, pixel_level_quality(saliency, gamma_of(model)))


def _scale(quality: torch.Tensor, model: FaceModel) -> torch.Tensor:
    """Return Q̂; of a model that has no constants of its own, Q itself."""
    if model.scaling is not None:
        return scale_quality(quality, model.scaling.alpha, model.scaling.r)
    warnings.warn(
        f"{model.name} is not calibrated: Q̂ is the raw Q, and the level of P means nothing (its order does). "
        "Fit its own constants with  model.scaling = plqlite.calibrate(model, images)",
        stacklevel=4,
    )
    return quality


def gamma_of(model: FaceModel) -> float:
    """Return a model's γ; a nominal one, of no model, lets a map be looked at before it is fitted."""
    return 11.5 if model.scaling is None else model.scaling.gamma
