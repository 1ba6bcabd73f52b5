"""The three steps in one: a batch of face images in, their quality and quality maps out."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from plqlite.files import write_aside
from plqlite.networks.model import FaceModel, check_images
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
    calibrated : whether the model had a scaling; without one Q̂ is Q itself, and the level of P means nothing
    """

    quality: torch.Tensor
    scaled_quality: torch.Tensor
    saliency: torch.Tensor
    plq: torch.Tensor
    calibrated: bool = True

    def numpy(self) -> dict[str, np.ndarray]:
        """Return the four maps and numbers as NumPy arrays by name."""
        names = ("quality", "scaled_quality", "saliency", "plq")
        return {name: getattr(self, name).cpu().numpy() for name in names}

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
        >>> Explanation(*torch.rand(2, 1), *torch.rand(2, 1, 112, 112)).save(path)
        >>> np.load(path)["plq"].shape
        (1, 112, 112)
        """
        arrays: dict = self.numpy()
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))


@torch.enable_grad()
def explain(
    model: FaceModel,
    images: torch.Tensor,
    passes: int | None = None,
    seed: int = 0,
    reading: str = "signed",
    dropout: float = 0.5,
) -> Explanation:
    """Explain for every pixel how useful it is for recognition (Eq. 1 to 7).

    It takes one forward pass of the backbone and one backward pass, however many dropout passes. Q is the
    closed form of Eq. 1, which gives the mean over all draws of 100 masks: no luck of a draw, and the same
    number each time. `passes=100` draws masks, as the paper does, and estimates the same number: α, r and γ
    serve both. A head that is not affine has no closed form, and 100 passes are drawn.

    Parameters
    ----------
    model : a FaceModel
    images : (B, 3, size, size) aligned RGB, 0..255
    passes : dropout passes m to be drawn; None for the closed form
    seed : chooses the dropout masks, where any are drawn
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
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> explain(model, plqlite.load_face(plqlite.sample_faces()["astronaut"], model)).plq.shape
    torch.Size([1, 112, 112])
    """
    check_images(images, model)
    images = images.detach().requires_grad_()
    features = model.features(images)  # (B, D): the one forward pass of the backbone
    with torch.no_grad():  # Eq. 3 takes the quality as a constant
        if passes is None and isinstance(model.head, torch.nn.Linear):
            quality = closed_form_quality(model.head, features, dropout)
        else:
            masks = 100 if passes is None else passes
            quality = robustness(stochastic_embeddings(model.head, features, masks, dropout, seed))
        scaled = _scale(quality, model)
    embedding = normalize(model.head(features), dim=-1)  # (B, d)
    output = quality_node(embedding, node_weights(embedding, scaled, reading))  # (B,)
    saliency = mean_over_channels(pixel_gradient(output, images))  # (B, H, W): the one backward pass
    plq = pixel_level_quality(saliency, gamma_of(model))
    return Explanation(quality, scaled, saliency, plq, calibrated=model.scaling is not None)


def _scale(quality: torch.Tensor, model: FaceModel) -> torch.Tensor:
    """Return Q̂; for a model that has no constants of its own, Q itself."""
    if model.scaling is not None:
        return scale_quality(quality, model.scaling.alpha, model.scaling.r)
    warnings.warn(
        f"{model.name} is not calibrated: Q̂ is the raw Q, and the level of P means nothing (its order does). "
        "Fit its own constants with  model.scaling = plqlite.calibrate(model, images)",
        stacklevel=4,
    )
    return quality


def gamma_of(model: FaceModel) -> float:
    """Return a model's γ; before it is fitted a nominal one, of no model, with which a map can be drawn.

    Examples
    --------
    >>> import plqlite
    >>> gamma_of(plqlite.sface()) == plqlite.sface().scaling.gamma
    True
    """
    return 11.5 if model.scaling is None else model.scaling.gamma
