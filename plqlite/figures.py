"""Figures, always on the fixed scale 0..1, and a panel to play with."""

import html
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from skimage.measure import label

from plqlite.explanation import Explanation, explain, gamma_of, pattern_of
from plqlite.faces import Photo
from plqlite.files import write_aside
from plqlite.networks.model import FaceModel, load_face
from plqlite.quality import scale_quality
from plqlite.regions import low_regions, reference_statistics_of
from plqlite.saliency import centre_and_background, pixel_level_quality

if TYPE_CHECKING:
    from ipywidgets import VBox

RED_YELLOW_GREEN = "RdYlGn"  # the paper's colours: red is low, green is high
COLOUR_BLIND_SAFE = "cividis"  # dark blue is low, yellow is high
LOWER_HIGHER = "RdBu"  # of what has a sign: red is lower than it should be, blue is higher


def show(
    images: torch.Tensor,
    explanation: Explanation,
    names: Sequence[str] = (),
    style: str = "split",
    colours: str = COLOUR_BLIND_SAFE,
) -> Figure:
    """Draw how good each face is, and where, in a row.

    Split into the two factors of Eq. 6, a row holds the face; a gauge of Q̂, with the development set below
    it in grey; the pattern; and the pattern on the face, with outlines around what is unusually low. In the
    paper's style it holds the face, P, and P on the face.

    Parameters
    ----------
    images : (B, 3, H, W) RGB 0..255, as they were explained
    explanation : from `explain`
    names : a title for each row
    style : "split" or "paper"
    colours : a matplotlib colour map, such as the paper's RED_YELLOW_GREEN

    Returns
    -------
    A matplotlib figure; a notebook draws it when it is the last line of a cell.

    Raises
    ------
    ValueError
        Another style.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> figure = show(images, explain(model, images), ["astronaut"])
    """
    rows = [(image, explanation[index]) for index, image in enumerate(images)]
    return grid(rows, names or [""] * len(rows), style, colours)


def grid(
    rows: Sequence[tuple[torch.Tensor, Explanation]],
    names: Sequence[str],
    style: str = "split",
    colours: str = COLOUR_BLIND_SAFE,
) -> Figure:
    """Draw several faces, explained by one model or by several; see `show`.

    Parameters
    ----------
    rows : pairs of image (3, H, W), RGB 0..255, and the explanation of this image alone
    names : a title for each row
    style : "split" or "paper"
    colours : a matplotlib colour map

    Returns
    -------
    A matplotlib figure.

    Raises
    ------
    ValueError
        Another style.

    Examples
    --------
    >>> import plqlite
    >>> model = plqlite.sface()
    >>> images = plqlite.load_face(plqlite.sample_faces()["astronaut"], model)
    >>> figure = grid([(images[0], explain(model, images))], ["astronaut"], style="paper")
    """
    if style not in ("split", "paper"):
        raise ValueError(f"There is no style {style!r}: choose split or paper.")
    panels = 4 if style == "split" else 3
    figure, axes = plt.subplots(
        len(rows), panels, figsize=(2.2 * panels + 0.8, 2.3 * len(rows)), layout="constrained", squeeze=False
    )
    plt.close(figure)  # the caller has it: pyplot must neither draw it again nor keep it
    draw_row = _draw_split if style == "split" else _draw_paper
    for row, (image, explanation), name in zip(axes, rows, names, strict=True):
        face = image.detach().permute(1, 2, 0).cpu().numpy() / 255  # (H, W, 3)
        row[0].imshow(face)
        row[0].set_title(name, fontsize=9, parse_math=False)  # a name may hold a $
        for axis in row:
            axis.set_axis_off()
        drawn = draw_row(row[1:], face, explanation, colours)
    describe(
        figure, " ".join(_in_words(name, each, style) for name, (_, each) in zip(names, rows, strict=True))
    )
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, aspect=20 * len(rows))  # as wide in each
    bar.set_label("pattern: P at Q̂ = ½" if style == "split" else "pixel-level quality P")
    return figure


def strip(
    panels: Mapping[str, torch.Tensor], alt: str, label: str = "", colours: str = COLOUR_BLIND_SAFE
) -> Figure:
    """Draw images and maps in one row, such as the map for several values of γ: what a panel does, on paper.

    Parameters
    ----------
    panels : title -> an image (3, H, W), RGB 0..255, or a map (H, W), 0..1
    alt : what there is to see, see `describe`
    label : of the colour bar of the maps
    colours : a matplotlib colour map

    Returns
    -------
    A matplotlib figure; a notebook draws it when it is the last line of a cell.

    Examples
    --------
    >>> figure = strip({"a face": torch.zeros(3, 8, 8), "its map": torch.rand(8, 8)}, "A face and a map.")
    """
    size = (1.7 * len(panels) + 0.6, 2.1)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    plt.close(figure)  # the caller has it
    drawn = None
    for axis, (title, values) in zip(axes[0], panels.items(), strict=True):
        values = values.detach().cpu()
        if values.dim() == 3:
            axis.imshow(values.permute(1, 2, 0) / 255)
        else:
            drawn = draw_map(axis, values.numpy(), colours)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, label=label)
    describe(figure, alt)
    return figure


def _draw_split(
    axes: Sequence[Axes], face: np.ndarray, explanation: Explanation, colours: str
) -> matplotlib.image.AxesImage:
    """Draw gauge, pattern, and the pattern on the face with what is unusually low."""
    gauge, where, both = axes
    values = explanation.pattern[0].detach().cpu().numpy()  # (H, W)
    draw_gauge(gauge, explanation)
    drawn = draw_map(where, values, colours)
    where.set_title("where", fontsize=9)
    both.imshow(overlay(face, values, colours))
    low = draw_outlines(both, explanation)
    both.set_title(f"low: {', '.join(low)}" if low else "", fontsize=9, wrap=True)
    return drawn


def _draw_paper(
    axes: Sequence[Axes], face: np.ndarray, explanation: Explanation, colours: str
) -> matplotlib.image.AxesImage:
    """Draw P, and P on the face."""
    values = explanation.plq[0].detach().cpu().numpy()  # (H, W)
    drawn = draw_map(axes[0], values, colours)
    axes[0].set_title(label_of(explanation), fontsize=9)
    axes[1].imshow(overlay(face, values, colours))
    return drawn


def _in_words(name: str, explanation: Explanation, style: str) -> str:
    """Say what a row of `grid` shows, for those who cannot see it."""
    values = (explanation.pattern if style == "split" else explanation.plq).detach()
    centre, background = (each.item() for each in centre_and_background(values))
    words = (
        f"{name or 'A face'}: {label_of(explanation)}; the {'pattern' if style == 'split' else 'map P'} is "
    )
    words += f"{centre:.1f} in the middle of the face and {background:.1f} near the edge of the crop"
    low = ", ".join(low_regions(explanation)) if style == "split" else ""
    return words + (f"; unusually low and outlined: {low}." if low else ".")


def describe(figure: Figure, text: str) -> None:
    """Give a figure an alternative text, which Jupyter stores beside the picture: say what there is to see.

    The site and nbconvert hand it to screen readers. `show` and `grid` describe their own figures.

    Examples
    --------
    >>> figure, axis = plt.subplots()
    >>> describe(figure, "An empty figure with two axes from 0 to 1.")
    >>> plt.close(figure)
    """
    metadata = {f"image/{kind}": {"alt": text} for kind in ("png", "jpeg")}
    figure._repr_mimebundle_ = lambda **_: ({}, metadata)  # type: ignore[attr-defined]  # IPython adds the picture


def label_of(explanation: Explanation) -> str:
    """Put Q and Q̂ of one image into a title."""
    quality, scaled = explanation.quality.item(), explanation.scaled_quality.item()
    return f"Q = {quality:.3f}, " + (f"Q̂ = {scaled:.2f}" if explanation.calibrated else "not calibrated")


def draw_gauge(axis: Axes, explanation: Explanation) -> None:
    """Draw Q̂ of one image on 0..1, and how many photos of the development set have which Q̂."""
    axis.set_axis_on()
    axis.set(xlim=(0, 1), ylim=(0, 1.25), xticks=(0, 0.5, 1), yticks=(), box_aspect=0.55)
    axis.spines[["left", "top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    development = None if explanation.model is None else development_quality(explanation.model)
    if development is not None:
        counts, edges = np.histogram(development, bins=20, range=(0, 1))
        axis.bar(edges[:-1], counts / counts.max(), width=0.05, align="edge", color="0.82")
        axis.set_xlabel("how good (grey: development photos)", fontsize=7, color="0.35")
    axis.axvline(explanation.scaled_quality.item(), color="black", linewidth=2.5)
    axis.set_title(label_of(explanation), fontsize=9)


def development_quality(model: FaceModel) -> np.ndarray | None:
    """Return Q̂ of the development set, in percentiles, (101,); None if the model has no constants for it.

    Examples
    --------
    >>> import plqlite
    >>> development_quality(plqlite.sface()).shape
    (101,)
    """
    if model.scaling is None or model.reference_statistics is None:
        return None
    percentiles = model.reference_statistics.quality_percentiles  # of Q
    return scale_quality(percentiles, model.scaling.alpha, model.scaling.r).numpy()


def draw_outlines(axis: Axes, explanation: Explanation) -> list[str]:
    """Outline what is unusually low in one image; return the names of the regions, the most unusual first."""
    low = low_regions(explanation)
    if not low:
        return []
    model, deviation = cast(FaceModel, explanation.model), cast(torch.Tensor, explanation.deviation)
    alarm = max(reference_statistics_of(model).alarms[name] for name in low)
    patches = label((deviation[0].cpu() < alarm).numpy())  # (H, W); 0: not low
    named = np.unique(patches[torch.stack(list(low.values())).any(0).numpy()])
    axis.contour(np.isin(patches, named), levels=[0.5], colors="white")  # beyond the region, too
    return list(low)


def draw_map(axis: Axes, values: np.ndarray, colours: str = COLOUR_BLIND_SAFE) -> matplotlib.image.AxesImage:
    """Draw a map in 0..1, (H, W), on the fixed scale; drawn smaller than it is, pixels are averaged."""
    return axis.imshow(values, cmap=colours, vmin=0, vmax=1, interpolation="antialiased")


def draw_deviation(axis: Axes, values: np.ndarray, limit: float = 5.0) -> matplotlib.image.AxesImage:
    """Draw what has a sign, (H, W), z-scores or changes: red is lower than it should be, blue is higher.

    A dashed line surrounds what is lower than two fifths of the limit (z = −2), so that colour is not alone.
    """
    low = np.asarray(values) < -0.4 * limit
    if low.any():
        axis.contour(low, levels=[0.5], colors="black", linewidths=1, linestyles="dashed")
    return axis.imshow(values, cmap=LOWER_HIGHER, vmin=-limit, vmax=limit, interpolation="antialiased")


def overlay(face: np.ndarray, values: np.ndarray, colours: str = COLOUR_BLIND_SAFE) -> np.ndarray:
    """Tint a face (H, W, 3), 0..1, by a map in 0..1, (H, W): half is the face in grey, half the colour."""
    grey = face.mean(-1, keepdims=True)  # on grey, every colour that is seen is the map's
    return (grey + matplotlib.colormaps[colours](values)[..., :3]) / 2


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG; the file appears only when it is complete.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    write_aside(path, lambda file: figure.savefig(file, format="png", dpi=120))


def explore(model: FaceModel | Sequence[FaceModel], photo: Photo, colours: str = COLOUR_BLIND_SAFE) -> "VBox":
    """Build a panel that redraws the picture when style, model, γ, passes, seed or reading change.

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
    ValueError
        There is no model.
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
    models = _named([model] if isinstance(model, FaceModel) else model)
    first, gammas = next(iter(models.values())), [gamma_of(each) for each in models.values()]
    controls = {
        "model": widgets.Dropdown(description="model", options=list(models)),
        "gamma": widgets.FloatSlider(
            description="γ",
            value=gamma_of(first),
            min=min(6, *gammas),
            max=max(18, *gammas),
            step=0.1,
            continuous_update=False,
        ),
        "passes": widgets.Dropdown(
            description="passes", options=[("closed form", None), 2, 10, 100, 1000], value=None
        ),
        "seed": widgets.BoundedIntText(description="seed", value=0, min=0, max=9999),
        "reading": widgets.Dropdown(description="reading", options=["signed", "literal", "summed"]),
        "style": widgets.Dropdown(description="style", options=["split", "paper"]),
        "upload": widgets.FileUpload(description="your photo", accept="image/*", multiple=False),
    }
    picture, message = widgets.Image(format="png", layout={"width": "860px"}), widgets.HTML()

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
            picture.value = b""  # that of another photo must not stay below the message
            return
        recoloured = _with_gamma(explanation, controls["gamma"].value)
        drawn = io.BytesIO()
        show(images, recoloured, chosen[:1], controls["style"].value, colours).savefig(drawn, dpi=100)
        picture.value = drawn.getvalue()

    def use_own_gamma(change: dict) -> None:
        controls["gamma"].value = gamma_of(models[change["new"]])

    controls["model"].observe(use_own_gamma, "value")
    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    rows = [
        widgets.HBox([controls[name] for name in names])
        for names in (("model", "gamma"), ("passes", "seed"), ("reading", "style"), ("upload",))
    ]
    return widgets.VBox([*rows, message, picture])


def _named(models: Sequence[FaceModel]) -> dict[str, FaceModel]:
    """Return models by name; a second one of a name is numbered."""
    if not len(models):
        raise ValueError("explore takes one model or more.")
    named: dict[str, FaceModel] = {}
    for each in models:
        number = 1 + sum(other.name == each.name for other in named.values())
        named[each.name if number == 1 else f"{each.name} ({number})"] = each
    return named


def _with_gamma(explanation: Explanation, gamma: float) -> Explanation:
    """Return an explanation with P and pattern for another γ."""
    plq = pixel_level_quality(explanation.saliency, gamma)
    pattern = pattern_of(explanation.saliency, explanation.scaled_quality, gamma)
    return replace(explanation, plq=plq, pattern=pattern)
