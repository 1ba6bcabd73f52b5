"""The course: what course/make.py makes, student copies that run, and a plan that adds up."""

import importlib.util
import re
import sys
import zipfile

import nbformat
import pypdf
import pytest
from nbclient import NotebookClient
from test_browser import CHROMIUM, new_page

from conftest import ROOT

spec = importlib.util.spec_from_file_location("make", ROOT / "course" / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

GUIDE = (ROOT / "course" / "guide.md").read_text("utf-8")
SLIDES = (ROOT / "course" / "slides.md").read_text("utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
READING = [
    path for path in LESSONS if re.search(r"\(\\?\"\.\./docs/", path.read_text("utf-8"))
]  # files of docs/


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make the course as the guide says, but elsewhere."""
    if CHROMIUM is None:
        pytest.skip("no Chromium installed")
    out = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make.py", "--out", str(out)])
        make.main()
    return out


def titles():
    return re.findall(r"^##? (.+)$", SLIDES, re.M)


@pytest.mark.slow
@pytest.mark.browser
def test_slides_need_no_network_and_nothing_is_cut_off(made):
    with new_page(1280, 720) as page:
        page.goto((made / "slides" / "slides.html").as_uri())
        page.wait_for_selector(".reveal.ready")
        assert page.asked
        assert all(url.startswith(("file:", "data:")) for url in page.asked)
        for title in titles():
            shown = page.locator("section.present section.present, section.present:not(:has(section))").last
            assert shown.locator("h1, h2").inner_text() == title
            box = shown.bounding_box()
            assert 0 <= box["y"] <= 720 - box["height"], title
            for picture in shown.locator("img").all():
                assert picture.evaluate("each => each.complete && each.naturalWidth") > 300
                assert len(picture.get_attribute("alt")) > 30
            page.keyboard.press("Space")


@pytest.mark.slow
@pytest.mark.browser
def test_slides_as_a_pdf_have_a_page_each(made):
    pages = pypdf.PdfReader(made / "slides.pdf").pages
    assert len(pages) == len(titles())
    for page, title in zip(pages, titles(), strict=True):
        assert re.sub(r"\W", "", title) in re.sub(r"\W", "", page.extract_text())


@pytest.mark.slow
@pytest.mark.browser
def test_the_handout_has_two_pages_and_the_library_s_functions(made):
    pages = pypdf.PdfReader(made / "handout.pdf").pages
    assert len(pages) == 2
    text = re.sub(r"\s", "", "".join(page.extract_text() for page in pages))
    for module, name in (("quality", "robustness"), ("saliency", "pixel_level_quality")):
        last = make.source_of(module, name).splitlines()[-1]
        assert re.sub(r"\s", "", last) in text


@pytest.mark.slow
@pytest.mark.browser
def test_the_zip_has_the_lessons_and_what_they_read_but_no_solutions(made):
    names = zipfile.ZipFile(made / "student.zip").namelist()
    assert {f"plqlite-student/notebooks/{path.name}" for path in LESSONS} <= set(names)
    assert "plqlite-student/docs/development_set.csv" in names
    assert not [name for name in names if "solution" in name or name.endswith(".py")]


def copy_of(path):
    return make.student_copy(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_s_copy_has_room_for_work_and_no_answers(path):
    copy = copy_of(path)
    nbformat.validate(copy)
    sources = [cell.source for cell in copy.cells]
    assert not [cell for cell in copy.cells if cell.get("outputs") or cell.get("execution_count")]
    assert "solutions/" not in "".join(sources)
    for number, source in enumerate(sources):
        if source.startswith("### Exercise "):
            assert copy.cells[number + 1].cell_type == "code"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_s_copy_has_the_cells_that_nbval_runs(path):
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    copied = [cell.source for cell in copy_of(path).cells if cell.cell_type == "code"]
    assert [source for source in copied if source != "# your work"] == code


@pytest.mark.slow
@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_a_student_s_copy_runs_and_waits_for_answers(path, tmp_path):
    """Beside the docs that it reads, from top to bottom; no check is passed, no claim is broken."""
    make.make_student_copies(tmp_path)
    copy = nbformat.read(tmp_path / "notebooks" / path.name, as_version=4)
    NotebookClient(copy, timeout=900, startup_timeout=900).execute(cwd=str(tmp_path / "notebooks"))
    printed = "".join(output.get("text", "") for cell in copy.cells for output in cell.get("outputs", []))
    checks = [cell for cell in copy.cells if re.search(r"^\s*check\(", cell.source, re.M)]
    assert printed.count("… not answered yet") >= len(checks) > 0
    assert "✓ right" not in printed
    assert "✗" not in printed


def plan(heading):
    """Return the rows of the table below a heading of the guide, as lists of cells."""
    text = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if re.match(r"\| *\d", line)]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_ninety_minutes_are_ninety():
    clock = 0
    for start, minutes, *_ in plan("90 minutes"):
        assert int(start) == clock
        clock += int(minutes)
    assert clock == 90


def test_half_a_day_is_four_hours():
    assert 90 + sum(int(row[0]) for row in plan("Half a day")) == 240


def test_the_rubric_adds_up_to_a_hundred():
    assert sum(int(weight) for weight in re.findall(r"^\| \*\*\w+\*\* (\d+) \|", GUIDE, re.M)) == 100


def test_the_plan_shows_every_slide_once_in_order():
    shown = []
    for _, _, _, where, *_ in plan("90 minutes"):
        for first, last in re.findall(r"slides? (\d+)(?:(?: to |, )(\d+))?", where):
            shown += range(int(first), int(last or first) + 1)
    assert shown == list(range(1, len(titles()) + 1))


def test_a_lost_picture_or_function_is_said():
    with pytest.raises(LookupError, match="no picture below #Nowhere"):
        make.picture_below("00_quickstart", "Nowhere")
    with pytest.raises(LookupError, match="no function nothing"):
        make.source_of("quality", "nothing")
