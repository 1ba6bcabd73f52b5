"""The pictures that a notebook stores, with their words: for run_notebooks.py, the site and the course."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import nbformat


class Picture(NamedTuple):
    """A picture among the outputs of a notebook."""

    kind: str  # png or jpeg
    data: str  # in base 64
    alt: str  # what there is to see, as `plqlite.figures.describe` has stored it; empty if it has not


def pictures(cells: Iterable[nbformat.NotebookNode]) -> Iterator[Picture]:
    """Return the pictures of some cells, in order."""
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        for kind in ("png", "jpeg"):
            if data := output.get("data", {}).get(f"image/{kind}"):
                yield Picture(kind, data, output.metadata.get(f"image/{kind}", {}).get("alt", ""))
