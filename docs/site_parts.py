"""What the site does its own way: anchors, formulas, panels. Used by conf.py."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def slug(heading: str) -> str:
    """Return the anchor of a heading, as Jupyter makes it."""
    return heading.replace(" ", "-")


def visit_math(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw themselves: no script, and nothing to download."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = convert(node.astext(), display=display)
    translator.body.append(formula if display == "inline" else f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def without_panels(app: Sphinx, exception: Exception | None) -> None:
    """Say what a panel is, where a page without a kernel could show only its name."""
    if exception is None:
        for page in app.outdir.glob("notebooks/**/*.html"):
            text = page.read_text("utf-8")
            said = "(Here a running notebook has a panel with controls.)"
            page.write_text(re.sub(r"VBox\(children=[^\n]*", said, text), "utf-8")


def lead_in(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the folder of the site to its first page."""
    if exception is None:
        there = '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        (app.outdir / "index.html").write_text(f"<!doctype html><title>plqlite</title>{there}", "utf-8")


def setup(app: Sphinx) -> dict:
    """Draw formulas as MathML, and finish pages."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("build-finished", without_panels)
    app.connect("build-finished", lead_in)
    return {"parallel_read_safe": True}
