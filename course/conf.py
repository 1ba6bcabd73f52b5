"""How course/make.py has Sphinx build slides and handout, each in a folder of its own."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from site_parts import visit_math  # no script, and nothing to download

project = "plqlite"
extensions = ["myst_parser", "sphinx_revealjs"]
root_doc = "index"
myst_enable_extensions = ["attrs_inline", "dollarmath"]
html_math_renderer = "mathml"
html_theme = "basic"
html_copy_source = html_use_index = False
html_static_path, html_css_files = [str(Path(__file__).parent / "_static")], ["handout.css"]

revealjs_style_theme = "white"
revealjs_static_path, revealjs_css_files = html_static_path, ["slides.css"]
revealjs_script_plugins = [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}]
revealjs_script_conf = {"slideNumber": "c", "hash": True, "width": 1280, "height": 720}


def setup(app: Sphinx) -> None:
    """Draw formulas as MathML."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
