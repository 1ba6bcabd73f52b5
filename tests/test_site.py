"""The site: it builds without a warning, needs no network, and can be read on a phone."""

import html
import itertools
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote

import jupytext
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from test_browser import new_page

from conftest import ROOT

PAGES = ["course/guide.md", "docs/*.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb"]
MADE = {"slides/slides.html", "slides.pdf", "handout.pdf", "student.zip"}  # by course/make.py
SERIOUS = {"serious", "critical"}
REACHED = "article a[href], article summary, article button"
SOURCES = [path.relative_to(ROOT) for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build it as README says, but elsewhere."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-d",
        out / "trees",
        "-c",
        "docs",
        ".",
        out / "site",
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "site"


@pytest.fixture(scope="module")
def page(site):
    """A page of a real browser, as wide as a phone; it remembers errors of scripts, too."""
    with new_page(390, 840) as page:
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page


@pytest.mark.slow
def test_every_page_is_there_and_the_site_is_light(site):
    for source in SOURCES:
        assert (site / source).with_suffix(".html").exists(), source
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40e6


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site):
    """But for what course/make.py makes. -W checks some of them; here are all, with their anchors."""
    found = 0
    for page in (site / source.with_suffix(".html") for source in SOURCES):
        for link in re.findall(r'<a\b[^>]* href="([^"]+)"', page.read_text("utf-8")):
            target, _, anchor = unquote(html.unescape(link)).partition("#")
            if re.match(r"https?:|mailto:", target) or target in MADE:
                continue
            there = (page.parent / target).resolve() if target else page
            assert there.exists(), f"{page.name}: {link}"
            text = html.unescape(there.read_text("utf-8")) if anchor else ""
            assert not anchor or f'id="{anchor}"' in text, f"{page.name}: {link}"
            found += bool(anchor)
    assert found > 1000


@pytest.mark.slow
def test_chapters_follow_each_other(site):
    names = [source.stem for source in SOURCES if source.parent.name == "notebooks"]
    for name, following in itertools.pairwise(names):
        text = (site / "notebooks" / f"{name}.html").read_text("utf-8")
        assert re.search(rf'class="right-next"\s+href="{following}\.html"', text), name
        assert f'href="solutions/{name}.html"' in text


def formulas(source):
    """Return how many formulas the text of a page has."""
    if source.suffix != ".ipynb":
        return 0
    cells = jupytext.read(ROOT / source).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return len(re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", re.sub(r"`[^`]*`", "", text), re.S))


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_page_is_whole_on_a_phone_without_a_network(page, site, source):
    page.asked.clear()
    page.errors.clear()
    page.goto((site / source).with_suffix(".html").as_uri())
    assert not [url for url in page.asked if not url.startswith(("file:", "data:"))]
    assert not page.errors
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    broken = "[...document.querySelectorAll('article img')].filter(each => !each.naturalWidth).length"
    assert page.evaluate(broken) == 0
    drawn = "each => each.getBoundingClientRect().width > 0"
    assert page.evaluate(f"[...document.querySelectorAll('math')].filter({drawn}).length") >= formulas(source)
    assert not [text for text in page.locator(".cell_output").all_inner_texts() if "VBox(" in text]
    for alt in page.eval_on_selector_all("article img", "images => images.map(each => each.alt)"):
        assert re.fullmatch(r".{30,}", alt, re.S), f"a picture without words: {alt!r}"
    if source.suffix == ".ipynb":
        assert str(source) in page.inner_text(".run")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_hard_to_use_for_anybody(page, site, scheme):
    """Contrast, names of links and buttons, order of headings: what axe-core calls serious or worse."""
    page.emulate_media(color_scheme=scheme)
    try:
        for source in SOURCES:
            page.goto((site / source).with_suffix(".html").as_uri())
            faults = [each for each in Axe().run(page).response["violations"] if each["impact"] in SERIOUS]
            assert not faults, f"{source}: {faults[0]['id']}, {faults[0]['nodes'][0]['html']}"
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    finally:
        page.emulate_media(color_scheme="no-preference")


@pytest.mark.slow
@pytest.mark.browser
def test_axe_finds_a_fault(page):
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><img src='x.png'></main></html>")
    assert "image-alt" in [each["id"] for each in Axe().run(page).response["violations"]]


@pytest.mark.slow
@pytest.mark.browser
def test_the_keyboard_alone_reaches_everything(page, site):
    """Each link, button and fold of the text can be focused by Tab, in the order of the page."""
    page.set_viewport_size({"width": 1280, "height": 840})
    try:
        page.goto((site / "notebooks" / "solutions" / "00_quickstart.html").as_uri())
        seen = "filter(each => each.checkVisibility({visibilityProperty: true, opacityProperty: true}))"
        elements = f"[...document.querySelectorAll('{REACHED}')].{seen}"
        order = []
        for _ in range(200):
            page.keyboard.press("Tab")
            order.append(page.evaluate(f"{elements}.indexOf(document.activeElement)"))
        reached = list(dict.fromkeys(index for index in order if index >= 0))
        assert reached == list(range(page.evaluate(f"{elements}.length")))
        assert len(reached) > 6
    finally:
        page.set_viewport_size({"width": 390, "height": 840})


@pytest.mark.slow
@pytest.mark.browser
def test_a_solution_unfolds_by_a_key(page, site):
    page.goto((site / "notebooks" / "solutions" / "00_quickstart.html").as_uri())
    solution = page.locator("details.solution").first
    inside = solution.locator("img").first
    assert not inside.is_visible()
    solution.locator("summary").press("Enter")
    assert inside.is_visible()


@pytest.mark.slow
@pytest.mark.browser
def test_the_folder_leads_to_the_first_page(page, site):
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/docs/index.html")
    assert page.inner_text("h1").startswith("plqlite")


@pytest.mark.slow
@pytest.mark.browser
def test_search_finds_a_word(page, site):
    page.goto((site / "search.html").as_uri() + "?q=exploding")
    page.wait_for_selector("#search-results a")
    found = page.eval_on_selector_all("#search-results a", "links => links.map(link => link.href)")
    assert any("08_exploding_gradients" in link for link in found)


@pytest.mark.slow
def test_a_broken_link_is_an_error(tmp_path):
    """-W means it: the test above can fail."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.md", "results"))
    (tmp_path / "docs" / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs", ".", "site"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode != 0
    assert "nowhere" in built.stderr


def test_the_site_that_is_published_is_the_one_that_was_tested():
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text("utf-8"))["jobs"]["test"][
        "steps"
    ]
    line = "sphinx-build -W -q -c docs . build/site"
    assert f".venv/bin/{line}" in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert {"run": "bash .ci/run"} in steps
    assert steps[-1]["with"]["path"] == line.split()[-1]
    assert "sphinx-build -W -c docs . build/site" in (ROOT / "README.md").read_text("utf-8")
