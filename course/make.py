"""Make what a lecturer hands out: slides, a handout, and notebooks for students.

    python course/make.py [--out build/site/course]

OUT/slides/slides.html and OUT/slides.pdf, OUT/handout.pdf, OUT/student.zip. Pictures and functions come from
the notebooks and from the library as they are. The PDFs need Chromium.
"""

import argparse
import ast
import base64
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from pictures import pictures
from site_parts import slug

ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"!\[\]\(\.\./notebooks/(\w+)\.ipynb#(\S+)\)")
FUNCTION = re.compile(r"^```python\n(\w+)\.(\w+)\n```$", re.M)


def picture_below(name: str, anchor: str) -> tuple[bytes, str, str]:
    """Return the first picture below a heading of a notebook: its bytes, png or jpeg, and its words.

    Raises
    ------
    LookupError
        There is no such heading, or no picture below it.
    """
    below = False
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^##+ (.+)$", cell.source, re.M)
            below = below or anchor in map(slug, headings)
        for kind, data, alt in pictures([cell]) if below else ():
            return base64.b64decode(data), kind, alt
    raise LookupError(f"{name} has no picture below #{anchor}: correct the link in the slides.")


def with_pictures(text: str, folder: Path) -> str:
    """Put pictures of the notebooks in place of links to them, and write their files to a folder."""

    def place(link: re.Match) -> str:
        data, kind, alt = picture_below(*link.groups())
        path = folder / f"{link[1]}-{len(list(folder.iterdir()))}.{kind}"
        path.write_bytes(data)
        return f"![{alt}]({path.name})"

    return PICTURE.sub(place, text)


def with_functions(text: str) -> str:
    """Put functions of the library, without their docstrings, in place of their names."""
    return FUNCTION.sub(lambda name: f"```python\n{source_of(*name.groups())}\n```", text)


def source_of(module: str, name: str) -> str:
    """Return a function of the library as it is written, without its docstring.

    Raises
    ------
    LookupError
        There is no such function.
    """
    source = (ROOT / "plqlite" / f"{module}.py").read_text("utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines, (docstring, *_) = source.splitlines(), node.body
            signature = lines[node.lineno - 1 : docstring.lineno - 1]
            return "\n".join(signature + lines[docstring.end_lineno : node.end_lineno])
    raise LookupError(f"plqlite/{module}.py has no function {name}: correct its name in the handout.")


def build(builder: str, text: str, name: str, out: Path) -> Path:
    """Build one page from Markdown and return it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        text = with_functions(with_pictures(text, source))
        (source / f"{name}.md").write_text(text, "utf-8")
        command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", builder, "-c", Path(__file__).parent]
        subprocess.run([*command, "-D", f"root_doc={name}", "-d", source / ".trees", source, out], check=True)
    return out / f"{name}.html"


def print_pdf(page: Path, pdf: Path, wait_for: str, query: str = "") -> None:
    """Print an HTML page to a PDF, as soon as an element is there.

    Raises
    ------
    FileNotFoundError
        Chromium is not installed.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if browser is None:
        raise FileNotFoundError("PDFs need Chromium: install it, or print the HTML pages yourself.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"], timeout=300_000)
        tab = chromium.new_page()
        tab.goto(page.as_uri() + query, timeout=300_000)
        tab.wait_for_selector(wait_for, state="attached", timeout=300_000)
        tab.pdf(path=pdf, prefer_css_page_size=True, print_background=True)
        chromium.close()


def student_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a lesson as a student gets it: nothing run yet, no link to solutions, room for work."""
    cells = []
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        cell.source = re.sub(r"^Solutions: \[.*?\]\(.*?\) · ", "", cell.source)
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif cell.source.startswith("### Exercise ") and following.cell_type == "markdown":
            cells.append(nbformat.v4.new_code_cell("# your work", id=f"{cell.id}-work"))
    notebook.cells = cells
    return notebook


def make_student_copies(out: Path) -> None:
    """Write the lessons as students get them, and what the lessons read, below a folder."""
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nbformat.write(student_copy(nbformat.read(path, as_version=4)), out / "notebooks" / path.name)
    ignored = shutil.ignore_patterns("*.py", "_static", "__pycache__")
    shutil.copytree(ROOT / "docs", out / "docs", ignore=ignored)


def main() -> None:
    """Make everything."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site" / "course")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    texts = {name: (ROOT / "course" / f"{name}.md").read_text("utf-8") for name in ("slides", "handout")}
    with tempfile.TemporaryDirectory() as folder:
        make_student_copies(Path(folder, "plqlite-student"))
        shutil.make_archive(str(out / "student"), "zip", folder, "plqlite-student")
    slides = build("revealjs", texts["slides"], "slides", out / "slides")
    print_pdf(slides, out / "slides.pdf", wait_for=".pdf-page", query="?print-pdf")
    with tempfile.TemporaryDirectory() as folder:
        handout = build("html", texts["handout"], "handout", Path(folder))
        print_pdf(handout, out / "handout.pdf", wait_for="math")
    print(f"{out}: slides, handout and notebooks for students")


if __name__ == "__main__":
    main()
