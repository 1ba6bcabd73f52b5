"""The first notebook in a real JupyterLab, in a real browser, on the loopback address."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HANGS = 900  # seconds; a busy machine is slow, and that is no fault
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def new_page(width, height):
    """A page of a real browser, which remembers in `asked` the requests that it makes."""
    if CHROMIUM is None:
        pytest.skip("no Chromium installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * HANGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * HANGS)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page
        browser.close()


@pytest.fixture
def lab(tmp_path):
    """JupyterLab over a copy of the notebooks; yields its address."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME", "DATA")}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    options = ["--port=0", f"--ServerApp.root_dir={tmp_path}", "--IdentityProvider.token=plqlite"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen([*command, *options], env=os.environ | folders, stdout=log, stderr=log)
    try:
        for _ in range(2 * HANGS):
            found = list((tmp_path / "RUNTIME").glob("jpserver-*.json"))
            if found and found[0].read_text().rstrip().endswith("}"):  # else it is still being written
                break
            try:
                server.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail("JupyterLab ended: " + (tmp_path / "lab.log").read_text()[-2000:])
        yield json.loads(found[0].read_text())["url"] + "lab/tree/notebooks/00_quickstart.ipynb?token=plqlite"
    finally:
        server.terminate()
        server.wait(HANGS)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium installed")
def test_panel_redraws_in_jupyterlab(lab):
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * HANGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * HANGS)
        page.goto(lab)
        page.get_by_text("| Idle").wait_for()  # the kernel runs
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        picture = page.locator("img.widget-image").first
        picture.wait_for(state="attached")
        picture.scroll_into_view_if_needed()
        before = picture.get_attribute("src")
        handle = page.locator(".widget-slider .noUi-handle").first
        handle.focus()
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        expect(picture).not_to_have_attribute("src", before, timeout=1000 * HANGS)
        page.screenshot(path=os.environ.get("PLQLITE_SCREENSHOT"))
        browser.close()
