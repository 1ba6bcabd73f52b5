"""One page that shows what a scored data set is like: HTML that needs nothing but itself."""

import base64
import html
import io
import os
from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from plqlite.explanation import explain
from plqlite.faces import FACE_COLUMNS, Face, read_image
from plqlite.figures import development_quality, draw_deviation, draw_gauge, draw_map
from plqlite.files import write_text
from plqlite.networks.model import FaceModel, load_face
from plqlite.scale.inputs import as_text
from plqlite.scale.shards import read_rows, read_settings

COLUMNS = ("file", "path", "identity", *FACE_COLUMNS, "quality", "scaled_quality", "low", "error")
SHOWN, LISTED = 8, 1000  # faces of each kind; rows of a table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } img { max-width: 100%; }
table { border-collapse: collapse; margin: 1rem 0; } .wide { overflow-x: auto; }
td, th { padding: 0.2rem 0.8rem; border-bottom: 1px solid #ccc; text-align: left; }
td:last-child { overflow-wrap: anywhere; } th { white-space: nowrap; }
th button { font: inherit; font-weight: bold; background: none; border: 0; padding: 0; cursor: pointer; }
th button::after { content: " ↕"; color: #595959; }
"""
SORT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.closest("th"), table = head.closest("table"), column = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  const value = row => row.cells[column].textContent, number = row => parseFloat(value(row));
  const compare = (a, b) => isNaN(number(a)) || isNaN(number(b))
    ? value(a).localeCompare(value(b)) : number(a) - number(b);
  const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? 1 : -1) * compare(a, b));
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
});
"""


def report(out: str | Path, model: FaceModel, page: str | Path | None = None) -> Path:
    """Write a page about a folder that `score` has filled.

    It shows how Q̂ is distributed beside that of the development set, the worst and the best faces, and counts
    by kind of advice, by kind of error and by subject, in tables that can be sorted.

    Parameters
    ----------
    out : folder of the scores
    model : that scored it, to draw faces again
    page : where to write; None for report.html in the folder

    Returns
    -------
    The page.

    Raises
    ------
    ValueError
        The folder holds no scores, or those of another model or calibration.
    OSError
        The page cannot be written.

    Examples
    --------
    >>> import plqlite, tempfile
    >>> from PIL import Image
    >>> from plqlite.scale.runner import score
    >>> folder, model = Path(tempfile.mkdtemp()), plqlite.sface()
    >>> Image.fromarray(plqlite.sample_faces()["astronaut"]).save(folder / "astronaut.png")
    >>> counts = score(folder, folder / "scores", model, workers=0)
    >>> report(folder / "scores", model).name
    'report.html'
    """
    out = Path(out)
    settings = read_settings(out)
    if settings["model"] != model.name or settings["sha256"] != model.identity["sha256"]:
        raise ValueError(f"{out} holds scores of {settings['model']}, not of {model.name}: take that model.")
    if settings["scaling"] != (model.scaling and asdict(model.scaling)):
        raise ValueError(f"{out} was scored with another calibration of {model.name}: score it again.")
    rows = read_rows(out, COLUMNS).to_pandas()
    faces = rows[rows["quality"].notna()].sort_values("quality", kind="stable")
    many = min(SHOWN, (len(faces) + 1) // 2)
    title = f"{out.resolve().name}: {counted(faces, 'face')} in {counted(rows['file'].unique(), 'file')}"
    sections = {
        title: overview(rows, model),
        "How good": picture(*distribution(faces, model)) if len(faces) else "<p>No face was scored.</p>",
        "The worst faces": shown(faces[:many], model, settings),
        "The best faces": shown(faces[::-1][:many], model, settings),
        "What is unusual": table(by_advice(faces)),
        "Errors": table(by_error(rows)),
        "Subjects": table(by_subject(faces)),
    }
    page = out / "report.html" if page is None else Path(page)
    write_text(page, as_page(sections))
    return page


def counted(things: Sized, name: str) -> str:
    """Say how many there are.

    Examples
    --------
    >>> counted("a", "face"), counted("ab", "face")
    ('1 face', '2 faces')
    """
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def as_page(sections: Mapping[str, str]) -> str:
    """Put sections, heading -> HTML, into a page; the first heading is the page's."""
    (title, first), *others = sections.items()
    body = f"<h1>{html.escape(title)}</h1>{first}"
    body += "".join(f"<section><h2>{html.escape(name)}</h2>{each}</section>" for name, each in others)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main><script>{SORT}</script></body></html>"
    )


def overview(rows: pd.DataFrame, model: FaceModel) -> str:
    """Say in a sentence what was scored."""
    errors = rows["error"].notna().sum()
    return (
        f"<p>Scored with {html.escape(model.name)}. {errors} of {rows['file'].nunique()} files could not be "
        "scored. Quality means utility for recognition by this network.</p>"
    )


def distribution(faces: pd.DataFrame, model: FaceModel) -> tuple[Figure, str]:
    """Draw how Q̂ is distributed, and how that of the development set is; Q, if there is no Q̂."""
    calibrated = model.scaling is not None
    values = faces["scaled_quality" if calibrated else "quality"]
    figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
    plt.close(figure)
    low, high = (0.0, 1.0) if calibrated else (values.min() - 1e-6, values.max() + 1e-6)
    edges = np.linspace(float(low), float(high), 41).tolist()
    axis.hist(values, edges, density=True, color="tab:blue", label="these faces")
    development = development_quality(model)
    if development is not None:
        axis.hist(development, edges, density=True, histtype="step", color="black", label="development set")
    axis.set(xlabel="Q̂: how good" if calibrated else "Q", ylabel="density")
    axis.legend()
    return figure, f"Histogram of {len(values)} faces; half of them are below {values.median():.2f}."


def shown(faces: pd.DataFrame, model: FaceModel, settings: Mapping) -> str:
    """Show some faces, each as face, gauge, pattern and deviation."""
    return "".join(one(row, model, settings) for row in faces.to_dict("records"))


def one(row: Mapping, model: FaceModel, settings: Mapping) -> str:
    """Show one face, or say why not."""
    low = ", ".join(row["low"]) if row["low"] is not None else ""
    words = f"{row['path']}: Q = {row['quality']:.3f}" + (f"; unusually low: {low}" if low else "")
    try:
        image = crop_again(row, model, settings)
    except (OSError, ValueError) as error:
        return f"<p>{html.escape(words)} (not drawn: {html.escape(as_text(str(error)))})</p>"
    return f"<p>{html.escape(words)}</p>{picture(face_row(image, model), words)}"


def crop_again(row: Mapping, model: FaceModel, settings: Mapping) -> torch.Tensor:
    """Align a face as it was when it was scored: (3, size, size)."""
    path = os.path.join(settings["source"], os.fsdecode(row["file"]))
    if settings["aligned"]:
        return load_face(path, model, aligned=True)[0]
    box, landmarks = np.split(np.array([row[name] for name in FACE_COLUMNS], float), [4])
    return model.crop(read_image(path), Face(box, landmarks.reshape(5, 2)))


def face_row(image: torch.Tensor, model: FaceModel) -> Figure:
    """Draw a face, its gauge, its pattern and its deviation."""
    explanation = explain(model, image[None])
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.1), layout="constrained")
    plt.close(figure)
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(image.permute(1, 2, 0).cpu() / 255)
    draw_gauge(axes[1], explanation)
    draw_map(axes[2], explanation.pattern[0].cpu().numpy())
    axes[2].set_title("pattern", fontsize=9)
    if explanation.deviation is not None:
        drawn = draw_deviation(axes[3], explanation.deviation[0].cpu().numpy())
        figure.colorbar(drawn, ax=axes[3])
        axes[3].set_title("deviation, σ", fontsize=9)
    return figure


def picture(figure: Figure, words: str) -> str:
    """Put a figure into HTML, with words for those who cannot see it."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(words)}">'


def table(rows: pd.DataFrame) -> str:
    """Put a table into HTML, with buttons that sort it."""
    if rows.empty:
        return "<p>None.</p>"
    head = "".join(f'<th scope="col"><button>{html.escape(name)}</button></th>' for name in rows)
    body = "".join(f"<tr>{cells(row)}</tr>" for row in rows[:LISTED].itertuples(index=False))
    more = f"<p>The first {LISTED} of {len(rows)}.</p>" if len(rows) > LISTED else ""
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0">{whole}</div>{more}'


def cells(row: Iterable) -> str:
    """Put a row into HTML."""
    texts = (f"{each:.3f}" if isinstance(each, float) else str(each) for each in row)
    return "".join(f"<td>{html.escape(text)}</td>" for text in texts)


def by_advice(faces: pd.DataFrame) -> pd.DataFrame:
    """Count faces by the parts that are unusually low."""
    parts = faces["low"].map(lambda low: "not compared" if low is None else ", ".join(low) or "nothing")
    return _counted(parts, "unusually low")


def by_error(rows: pd.DataFrame) -> pd.DataFrame:
    """Count files by the kind of their error, with an example."""
    errors = rows["error"].dropna()
    kinds = errors.astype(str).str.split(":").str[0]
    found = _counted(kinds, "error")
    return found.assign(example=[errors[kinds == kind].iloc[0] for kind in found["error"]])


def by_subject(faces: pd.DataFrame) -> pd.DataFrame:
    """Count faces by subject, the lowest mean quality first."""
    groups = faces.dropna(subset="identity").groupby("identity")["quality"]
    found = groups.agg(faces="size", mean="mean", lowest="min").sort_values("mean").reset_index()
    return found.rename(columns={"identity": "subject", "mean": "mean Q", "lowest": "lowest Q"})


def _counted(values: pd.Series, name: str) -> pd.DataFrame:
    """Count values, the most frequent first."""
    return values.value_counts().rename_axis(name).reset_index(name="count")
