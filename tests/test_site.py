"""The site: it builds without a warning, needs no network, and can be read on a phone."""

import itertools
import re
import shutil
import subprocess
import sys

import jupytext
import pytest
import yaml
from test_browser import CHROMIUM, FLAGS, HANGS

from conftest import ROOT

PAGES = ["docs/*.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb"]
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
    """A page of a real browser; it remembers requests that leave the folder, and errors of scripts."""
    if CHROMIUM is None:
        pytest.skip("no Chromium installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * HANGS)
        page = browser.new_page(viewport={"width": 390, "height": 840})  # a phone
        page.set_default_timeout(1000 * HANGS)
        page.left, page.errors = [], []
        page.on("request", lambda request: page.left.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        browser.close()


@pytest.mark.slow
def test_every_page_is_there_and_the_site_is_light(site):
    for source in SOURCES:
        assert (site / source).with_suffix(".html").exists(), source
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40e6


@pytest.mark.slow
def test_a_link_to_a_heading_leads_to_it(site):
    text = (site / "docs" / "scorecard.html").read_text("utf-8")
    links = set(re.findall(r'href="\.\./(notebooks/\w+\.html)#(\S+?)"', text))
    assert len(links) > 10
    for target, anchor in links:
        assert f'id="{anchor}"' in (site / target).read_text("utf-8"), (target, anchor)


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
    page.left.clear()
    page.errors.clear()
    page.goto((site / source).with_suffix(".html").as_uri())
    assert not [url for url in page.left if not url.startswith(("file:", "data:"))]
    assert not page.errors
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    broken = "[...document.querySelectorAll('article img')].filter(each => !each.naturalWidth).length"
    assert page.evaluate(broken) == 0
    drawn = "each => each.getBoundingClientRect().width > 0"
    assert page.evaluate(f"[...document.querySelectorAll('math')].filter({drawn}).length") >= formulas(source)
    assert not [text for text in page.locator(".cell_output").all_inner_texts() if "VBox(" in text]


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
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1].endswith(line)
    assert {"run": "bash .ci/run"} in steps
    assert steps[-1]["with"]["path"] == line.split()[-1]
    assert "sphinx-build -W -c docs . build/site" in (ROOT / "README.md").read_text("utf-8")
