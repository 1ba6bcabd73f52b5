"""What the site does its own way: anchors, formulas, panels, words for pictures, folds. Used by conf.py."""

import re
from pathlib import Path

import nbformat
from docutils import nodes
from latex2mathml.converter import convert
from pictures import pictures
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

RUN = (
    'Run it yourself: <a href="{up}README.html#install">install plqlite</a>, then '
    "<code>.venv/bin/jupyter lab {notebook}</code>; or "
    '<a href="{up}docs/install.html#colab-and-binder">in a browser, on Colab or Binder</a>.'
)


def slug(heading: str) -> str:
    """Return the anchor of a heading, as Jupyter makes it."""
    return heading.replace(" ", "-")


def visit_math(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw themselves: no script, and nothing to download."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    formula = convert(node.astext(), display=display)
    if display == "block":  # a wide one can be scrolled, with the keyboard too
        formula = f'<div class="formula" role="group" aria-label="formula" tabindex="0">{formula}</div>'
    translator.body.append(formula)
    raise nodes.SkipNode


def finish_notebook(app: Sphinx, document: nodes.document) -> None:
    """Complete the page of a notebook: alternative texts, how to run it, folded solutions."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        describe_pictures(document, path)
        say_how_to_run(document, app.env.docname)
        if path.parent.name == "solutions":
            fold_solutions(document)


def describe_pictures(document: nodes.document, path: Path) -> None:
    """Give each picture the alternative text that `plqlite.figures.describe` has stored beside it."""
    stored = list(pictures(nbformat.read(path, as_version=4).cells))
    outputs = [each for each in document.findall(nodes.container) if "cell_output" in each["classes"]]
    shown = [image for output in outputs for image in output.findall(nodes.image)]
    if len(stored) != len(shown):
        raise ExtensionError(f"{path.name} stores {len(stored)} pictures, its page has {len(shown)}.")
    for image, picture in zip(shown, stored, strict=True):
        image["alt"] = picture.alt


def say_how_to_run(document: nodes.document, docname: str) -> None:
    """Write below the title how to run the page."""
    line = RUN.format(up="../" * docname.count("/"), notebook=f"{docname}.ipynb")
    title = next(document.findall(nodes.title))
    title.parent.insert(1, nodes.raw("", f'<p class="run">{line}</p>', format="html"))


def fold_solutions(document: nodes.document) -> None:
    """Fold each solution below its heading."""
    opened = "<details class='solution'><summary>Show the solution</summary>"
    for section in list(document.findall(nodes.section)):
        if re.match(r"\d+\. ", section[0].astext()):
            section.insert(1, nodes.raw("", opened, format="html"))
            section.append(nodes.raw("", "</details>", format="html"))


def finish_outputs(app: Sphinx, exception: Exception | None) -> None:
    """In what cells put out: lead links to pages, and say what a panel is."""
    if exception is None:
        for page in app.outdir.glob("notebooks/**/*.html"):
            text = page.read_text("utf-8")
            said = "(Here a running notebook has a panel with controls.)"
            text = re.sub(r"VBox\(children=[^\n]*", said, text)
            page.write_text(re.sub(r'(href="\w+)\.ipynb\b', r"\1.html", text), "utf-8")


def lead_in(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the folder of the site to its first page."""
    if exception is None:
        there = '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        (app.outdir / "index.html").write_text(f"<!doctype html><title>plqlite</title>{there}", "utf-8")


def setup(app: Sphinx) -> dict:
    """Draw formulas as MathML, and finish pages."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("doctree-read", finish_notebook)
    app.connect("build-finished", finish_outputs)
    app.connect("build-finished", lead_in)
    return {"parallel_read_safe": True}
