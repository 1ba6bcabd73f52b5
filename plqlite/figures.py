"""Figures, always on the fixed scale 0..1, and a panel to play with."""

import html
import io
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plqlite.explanation import Explanation, explain, gamma_of
from plqlite.faces import Photo
from plqlite.files import write_aside
from plqlite.networks.model import FaceModel, load_face
from plqlite.saliency import pixel_level_quality

if TYPE_CHECKING:
    from ipywidgets import VBox

RED_YELLOW_GREEN = "RdYlGn"  # the paper's colours: red is low, green is high
COLOUR_BLIND_SAFE = "cividis"  # dark blue is low, yellow is high


def show(
    images: torch.Tensor, explanation: Explanation, names: Sequence[str] = (), colours: str = RED_YELLOW_GREEN
) -> Figure:
    """Draw face, map and overlay of each image in a row, with the colour bar 0..1.

    Parameters
    ----------
    images : (B, 3, H, W) RGB 0..255, as they were explained
    explanation : from `explain`
    names : a title for each row
    colours : a matplotlib colour map; COLOUR_BLIND_SAFE for those who cannot tell red from green

    Returns
    -------
    A matplotlib figure; a notebook draws it when it is the last line of a cell.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> figure = show(images, explain(model, images), ["astronaut"])
    """
    rows = [(image, plq) for image, plq in zip(images, explanation.plq, strict=True)]
    labels = labels_of(explanation)
    if names:
        labels = [f"{name}: {label}" for name, label in zip(names, labels, strict=True)]
    return grid(rows, labels, colours)


def labels_of(explanation: Explanation) -> list[str]:
    """Put Q and Q̂ of each image into a title."""
    if not explanation.calibrated:
        return [f"Q = {q:.3f}, not calibrated" for q in explanation.quality]
    values = zip(explanation.quality, explanation.scaled_quality, strict=True)
    return [f"Q = {q:.3f}, Q̂ = {scaled:.2f}" for q, scaled in values]


def grid(
    rows: Sequence[tuple[torch.Tensor, torch.Tensor]], labels: Sequence[str], colours: str = RED_YELLOW_GREEN
) -> Figure:
    """Draw several faces with their maps, of one model or of several.

    Parameters
    ----------
    rows : pairs of image (3, H, W), RGB 0..255, and its map P (H, W), 0..1
    labels : a title for each row
    colours : a matplotlib colour map

    Returns
    -------
    A matplotlib figure.

    Examples
    --------
    >>> figure = grid([(torch.rand(3, 112, 112) * 255, torch.rand(112, 112))], ["noise"])
    """
    figure, axes = plt.subplots(
        len(rows), 3, figsize=(6.6, 2.3 * len(rows)), layout="constrained", squeeze=False
    )
    plt.close(figure)  # the caller has it: pyplot must neither draw it again nor keep it
    for row, (image, plq), label in zip(axes, rows, labels, strict=True):
        face = image.detach().permute(1, 2, 0).cpu().numpy() / 255  # (H, W, 3)
        values = plq.detach().cpu().numpy()  # (H, W)
        row[0].imshow(face)
        drawn = draw_map(row[1], values, colours)
        row[2].imshow(overlay(face, values, colours))
        row[1].set_title(label, fontsize=9)
        for axis in row:
            axis.set_axis_off()
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label("pixel-level quality P")
    return figure


def draw_map(axis: Axes, plq: np.ndarray, colours: str = RED_YELLOW_GREEN) -> matplotlib.image.AxesImage:
    """Draw P, (H, W), on the fixed scale 0..1."""
    return axis.imshow(plq, cmap=colours, vmin=0, vmax=1, interpolation="nearest")


def overlay(face: np.ndarray, plq: np.ndarray, colours: str = RED_YELLOW_GREEN) -> np.ndarray:
    """Colour a face (H, W, 3), 0..1, by its map P (H, W)."""
    grey = face.mean(-1, keepdims=True)  # on grey, every colour that is seen is the map's
    return (0.25 + 0.75 * grey) * matplotlib.colormaps[colours](plq)[..., :3]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG; the file appears only when it is complete.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    write_aside(path, lambda file: figure.savefig(file, format="png", dpi=120))


def explore(model: FaceModel | Sequence[FaceModel], photo: Photo, colours: str = RED_YELLOW_GREEN) -> "VBox":
    """Build a panel that redraws the map when model, γ, passes, seed or reading change.

    An upload button takes the reader's own photo, which stays on the machine that runs Python.

    Parameters
    ----------
    model : one model, or several to choose from
    photo : see `load_face`
    colours : a matplotlib colour map

    Returns
    -------
    The panel; a notebook shows it when it is the last line of a cell.

    Raises
    ------
    ImportError
        ipywidgets is not installed.

    Examples
    --------
    >>> import plqlite
    >>> panel = explore(plqlite.sface(), plqlite.sample_faces()["astronaut"])
    """
    try:
        import ipywidgets as widgets  # only a notebook needs it
    except ImportError as error:
        raise ImportError("The panel needs another package: run  pip install ipywidgets") from error
    models = {each.name: each for each in ([model] if isinstance(model, FaceModel) else model)}
    first = next(iter(models.values()))
    controls = {
        "model": widgets.Dropdown(description="model", options=list(models)),
        "gamma": widgets.FloatSlider(
            description="γ", value=gamma_of(first), min=6, max=18, step=0.1, continuous_update=False
        ),
        "passes": widgets.Dropdown(
            description="passes", options=[("closed form", None), 2, 10, 100, 1000], value=None
        ),
        "seed": widgets.BoundedIntText(description="seed", value=0, min=0, max=9999),
        "reading": widgets.Dropdown(description="reading", options=["signed", "literal", "summed"]),
        "upload": widgets.FileUpload(description="your photo", accept="image/*", multiple=False),
    }
    picture, message = widgets.Image(format="png", layout={"width": "660px"}), widgets.HTML()

    @lru_cache(maxsize=32)  # γ only recolours: moving it must not run the network again
    def explained(name: str, passes: int | None, seed: int, reading: str, content: bytes | None) -> tuple:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = load_face(photo if content is None else content, models[name])
            explanation = explain(models[name], images, passes, seed, reading)
        notes = "<br>".join(html.escape(str(warning.message)) for warning in caught)
        return images, explanation, notes

    def redraw(_: dict | None = None) -> None:
        upload = controls["upload"].value
        content = bytes(upload[0]["content"]) if upload else None
        chosen = [controls[name].value for name in ("model", "passes", "seed", "reading")]
        try:
            images, explanation, message.value = explained(*chosen, content)
        except (ValueError, TypeError, OSError) as error:
            message.value = f"<b>{html.escape(str(error))}</b>"
            return
        plq = pixel_level_quality(explanation.saliency, controls["gamma"].value)
        label = f"{chosen[0]}: {labels_of(explanation)[0]}"
        drawn = io.BytesIO()
        grid([(images[0], plq[0])], [label], colours).savefig(drawn, format="png", dpi=100)
        picture.value = drawn.getvalue()

    def use_own_gamma(change: dict) -> None:
        controls["gamma"].value = gamma_of(models[change["new"]])

    controls["model"].observe(use_own_gamma, "value")
    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    rows = [
        widgets.HBox([controls[name] for name in names])
        for names in (("model", "gamma"), ("passes", "seed"), ("reading", "upload"))
    ]
    return widgets.VBox([*rows, message, picture])
