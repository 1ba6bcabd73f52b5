"""The whole method in one picture, as in Fig. 1 of the paper: from a photo to its quality map."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plqlite.explanation import Explanation, explain
from plqlite.figures import describe, draw_gauge, draw_map, label_of
from plqlite.networks.model import FaceModel, load_face
from plqlite.quality import stochastic_embeddings

STEPS = (
    "photo",
    "aligned face",
    "1 · one embedding for\neach dropout pass",
    "1 · their scatter\ngives the quality",
    "2, 3 · gradient of a node\nwhose output is Q̂",
    "3 · PLQ map P",
)


def pipeline(model: FaceModel, photos: Mapping[str, np.ndarray]) -> Figure:
    """Draw photo, aligned face, embeddings under dropout, quality, saliency and map, one row for each photo.

    Parameters
    ----------
    model : has a head that dropout can be put before, and constants
    photos : name -> (H, W, 3) RGB

    Returns
    -------
    A matplotlib figure; a notebook draws it when it is the last line of a cell.

    Examples
    --------
    >>> import plqlite
    >>> faces = plqlite.sample_faces()
    >>> figure = pipeline(plqlite.sface(), {"astronaut": faces["astronaut"]})
    """
    size = (1.9 * len(STEPS), 0.6 + 1.7 * len(photos))
    figure, axes = plt.subplots(len(photos), len(STEPS), figsize=size, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.14)  # room for arrows
    plt.close(figure)  # the caller has it
    words = []
    for row, (name, photo) in zip(axes, photos.items(), strict=True):
        images = load_face(photo, model)
        explanation = explain(model, images)
        _draw_row(row, photo, images[0], _scatter(model, images), explanation)
        row[0].set_ylabel(name)
        words.append(f"{name}, {label_of(explanation)}, mean of P {explanation.plq.mean():.1f}")
    for axis, step in zip(axes[0], STEPS, strict=True):
        axis.set_title(step, fontsize=9)
    _draw_arrows(axes)
    described = "; ".join(words)
    describe(figure, f"Each photo is cropped, embedded 100 times, scored and turned into a map: {described}.")
    return figure


def _scatter(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    """Return 100 embeddings of one image, seen along their mean direction, with distances to scale: (100, 2).

    Each keeps its distance from the mean; its direction is that of its first two principal components.
    """
    with torch.no_grad():
        embeddings = stochastic_embeddings(model.head, model.features(images))[0].cpu()  # (100, d)
    away = embeddings - embeddings.mean(0)
    flat = away @ torch.pca_lowrank(away, 2, niter=8)[2]  # (100, 2)
    return flat * (away.norm(dim=1) / flat.norm(dim=1))[:, None]


def _draw_row(
    row: Sequence[Axes],
    photo: np.ndarray,
    image: torch.Tensor,
    scatter: torch.Tensor,
    explanation: Explanation,
) -> None:
    """Draw the six stages of one photo."""
    row[0].imshow(photo)
    row[1].imshow(image.permute(1, 2, 0).cpu() / 255)
    row[2].plot(*scatter.T, ".", markersize=3, color="0.35")
    row[2].set(xlim=(-0.4, 0.4), ylim=(-0.4, 0.4), box_aspect=1)
    row[4].imshow(
        explanation.saliency[0].detach().cpu().clamp(min=1e-9).log10(), cmap="gray", vmin=-7, vmax=-4
    )
    draw_map(row[5], explanation.plq[0].detach().cpu().numpy())
    for axis in row:
        axis.set(xticks=[], yticks=[])
    draw_gauge(row[3], explanation)
    row[3].set_xlabel(label_of(explanation), fontsize=9)
    row[3].set_title("")


def _draw_arrows(axes: np.ndarray) -> None:
    """Draw an arrow from each stage to the next, between the axes."""
    for row in axes:
        for axis in row[1:]:
            arrow = {"arrowstyle": "->", "color": "0.3", "linewidth": 1.5}
            axis.annotate("", (-0.03, 0.5), (-0.19, 0.5), xycoords="axes fraction", arrowprops=arrow)
