"""How `sphinx-build -W -c docs . build/site` builds the site, from the stored outputs of the notebooks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "plqlite"
copyright = "the developers of plqlite"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_parts"]
root_doc = "docs/index"
include_patterns = [
    "course/guide.md",
    "docs/*.md",
    "notebooks/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]

# --- notebooks and Markdown ---

nb_execution_mode = "off"  # what is stored is shown; tests/ runs the notebooks
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_heading_slug_func = "site_parts.slug"

# --- reference ---

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_param = False  # or else each word that a docstring says of a parameter is taken for a type
napoleon_use_rtype = False
autodoc_default_options = {"members": True}

# --- pages that need no network ---

html_theme = "sphinx_book_theme"
html_title = "plqlite"
html_copy_source = html_use_index = html_domain_indices = False
html_static_path, html_css_files = ["_static"], ["site.css"]
html_theme_options = {
    "navbar_persistent": [],  # the search field is in the sidebar
    "use_download_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_math_renderer = "mathml"  # of site_parts.py
