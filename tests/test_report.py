"""The page about a scored data set, in a real browser."""

import os
import re
import shutil

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from test_browser import new_page

import plqlite
from conftest import tiny_model
from plqlite.__main__ import main as program
from plqlite.scale.report import report
from plqlite.scale.runner import score


@pytest.fixture(scope="module")
def sface():
    return plqlite.sface(device="cpu")


@pytest.fixture(scope="module")
def scored(sface, tmp_path_factory):
    """Four sample faces, one of them covered, and three files that are none; two names that would be HTML."""
    folder, faces = tmp_path_factory.mktemp("photos"), plqlite.sample_faces()
    for person in ("astronaut", "grace_hopper", "group_1"):
        (folder / person).mkdir()
        Image.fromarray(faces[person]).save(folder / person / "<b>1.png")
    covered = faces["astronaut"].copy()
    covered[120:180, 190:262] = (90, 120, 200)  # nose and mouth
    Image.fromarray(covered).save(folder / "astronaut" / "masked.png")
    (folder / "<img src=x onerror=alert(1)>").mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / "<img src=x onerror=alert(1)>" / name).write_text("no image")
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(folder / "black.png")
    score(folder, folder / "out", sface, workers=0)
    return folder / "out"


@pytest.fixture(scope="module")
def page(scored, sface):
    with new_page(390, 840) as page:
        page.said = []
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.goto(report(scored, sface).as_uri())
        yield page


def column(page, heading, number):
    rows = page.locator("section", has=page.get_by_role("heading", name=heading)).locator("tbody tr")
    return [row.locator("td").nth(number).inner_text() for row in rows.all()]


@pytest.mark.browser
def test_it_says_what_was_found(page):
    assert page.inner_text("h1") == "out: 4 faces in 7 files"
    assert dict(zip(column(page, "Errors", 0), column(page, "Errors", 1), strict=True)) == {
        "UnreadableImage": "2",
        "NoFaceFound": "1",
    }
    unusual = dict(zip(column(page, "What is unusual", 0), column(page, "What is unusual", 1), strict=True))
    assert sum(map(int, unusual.values())) == 4
    assert any("mouth" in parts for parts in unusual)
    assert sorted(column(page, "Subjects", 0)) == ["astronaut", "grace_hopper", "group_1"]
    alts = page.eval_on_selector_all("img", "images => images.map(image => image.alt)")
    assert len(alts) == 5  # the distribution, two worst, two best
    assert any("masked.png" in alt and "unusually low: " in alt for alt in alts)


@pytest.mark.browser
def test_it_needs_nothing_else_and_runs_nothing_of_a_stranger(page):
    assert [url for url in page.asked if not url.startswith("data:")] == [page.url]
    assert page.said == []
    assert page.locator("b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("[...document.images].every(each => each.naturalWidth > 100)")
    assert not Axe().run(page).response["violations"]


@pytest.mark.browser
def test_tables_are_sorted_by_number_and_back(page):
    button = page.locator("section", has=page.get_by_role("heading", name="Subjects")).get_by_role("button")
    numbers = column(page, "Subjects", 3)
    button.nth(3).click()
    assert column(page, "Subjects", 3) == sorted(numbers, key=float)
    button.nth(3).click()
    assert column(page, "Subjects", 3) == sorted(numbers, key=float, reverse=True)
    assert page.get_attribute("th[aria-sort]", "aria-sort") == "descending"


def test_scores_of_another_model_are_refused(scored):
    with pytest.raises(ValueError, match="holds scores of sface, not of tiny: take that model"):
        report(scored, tiny_model())


def test_a_folder_without_scores(tmp_path, sface):
    with pytest.raises(ValueError, match=r"holds no settings.json: fill it with  plqlite score"):
        report(tmp_path, sface)


def test_a_photo_that_has_gone_is_said(scored, sface, tmp_path):
    shutil.copytree(scored, tmp_path / "out")
    settings = tmp_path / "out" / "settings.json"
    settings.write_text(re.sub(r'"source": ".*?"', '"source": "/nowhere"', settings.read_text()))
    text = report(tmp_path / "out", sface).read_text()
    assert text.count("not drawn: /nowhere/") == 4


@pytest.mark.filterwarnings("ignore:tiny is not calibrated")
def test_a_model_without_constants(tmp_path):
    model = tiny_model()
    model.scaling = None
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    score(tmp_path, tmp_path / "out", model, aligned=True, workers=0)
    text = report(tmp_path / "out", model).read_text()
    assert "1 face in 1 file" in text
    assert "<td>not compared</td><td>1</td>" in text
    with pytest.raises(ValueError, match="was scored with another calibration of tiny: score it again"):
        report(tmp_path / "out", tiny_model())


def test_nothing_but_errors(tmp_path, sface):
    (tmp_path / "notes.txt").touch()
    score(tmp_path, tmp_path / "out", sface, workers=0)
    assert "No face was scored." in report(tmp_path / "out", sface).read_text()


def test_the_command(scored, monkeypatch, capsys, tmp_path):
    page = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["plqlite", "report", os.fspath(scored), "--page", os.fspath(page)])
    assert program() == 0
    assert capsys.readouterr().out == f"wrote {page}\n"
    assert page.read_text().startswith("<!doctype html>")
