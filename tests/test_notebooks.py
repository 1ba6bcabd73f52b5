"""What nbval does not see: cells never run, drifted pairs, stored errors, paths, size, times, links."""

import ast
import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from plqlite import lessons

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]

spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "docs" / "run_notebooks.py")
run_notebooks = importlib.util.module_from_spec(spec)
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "docs")  # as a script finds what lies beside it
    spec.loader.exec_module(run_notebooks)


def check_pair(path):
    stored, paired = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [(c.cell_type, c.source) for c in stored.cells] == [(c.cell_type, c.source) for c in paired.cells]
    # JupyterLab refuses to open a pair whose headers differ, if the .ipynb happens to be the newer file.
    assert jupytext.writes(stored, fmt="py:percent") == jupytext.writes(paired, fmt="py:percent")


def check_executed(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def check_outputs(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt|var)/|[A-Z]:\\", text), (
                text
            )
            assert "✗" not in text, text


def check_pictures(notebook):
    """Every picture has words for those who cannot see it."""
    for picture in run_notebooks.pictures(notebook.cells):
        assert re.fullmatch(r".{30,}\.", picture.alt), f"Describe a picture in a sentence: {picture.alt!r}"


def check_lesson(notebook):
    """Question, outcome and time on top; nothing long; claims that trip nobody; exercises at the end."""
    first, sources = notebook.cells[0].source, [cell.source for cell in notebook.cells]
    assert all(f"**{word}**" in first for word in ("Question", "Outcome", "Time"))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25, cell.source
            assert not re.search(r"\bassert(_\w+)?\b", cell.source), f"claim() it: {cell.source}"
    start = sources.index(next(source for source in sources if source.startswith("## Exercises")))
    exercises = [source for source in sources[start:] if source.startswith("### Exercise ")]
    found = [run_notebooks.EXERCISE.match(source) for source in exercises]
    assert all(found), exercises
    assert 3 <= len(found) <= 5
    assert [int(each[1]) for each in found] == list(range(1, len(found) + 1))
    for source in exercises:
        assert re.search(r"^<details><summary>Hint</summary>.+</details>$", source, re.M | re.S), source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check_pair(path)
    check_executed(notebook)
    check_outputs(notebook)
    check_pictures(notebook)
    assert notebook.cells[0].source.startswith("# ")
    if path.parent.name != "solutions":
        check_lesson(notebook)
    assert path.stat().st_size < 1_500_000


def test_every_file_has_its_partner():
    scripts = {path.with_suffix("") for path in (ROOT / "notebooks").rglob("*.py")}
    assert scripts == {path.with_suffix("") for path in NOTEBOOKS}
    chapters = {path.name for path in NOTEBOOKS if path.parent.name == "notebooks"}
    assert chapters == {path.name for path in NOTEBOOKS if path.parent.name == "solutions"}


CHAPTERS = [path for path in NOTEBOOKS if path.parent.name == "notebooks"]


def first_and_last(path):
    """Return the sources of the first and the last cell of a notebook."""
    cells = jupytext.read(path).cells
    return cells[0].source, cells[-1].source


def times():
    with (ROOT / "docs" / "times.csv").open(encoding="utf-8") as file:
        return {row["notebook"]: row for row in csv.DictReader(file)}


def test_every_notebook_was_timed():
    names = {path.relative_to(ROOT / "notebooks").with_suffix("").as_posix() for path in NOTEBOOKS}
    assert times().keys() == names
    assert all(int(row["seconds"]) > 0 and row["machine"] for row in times().values())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_time_in_the_header_is_the_measured_one(path):
    """docs/run_notebooks.py writes both."""
    for version in (path, path.with_suffix(".py")):
        (line,) = re.findall(r"^\| \*\*Time\*\* \| (.*) \|$", first_and_last(version)[0], re.M)
        reading, running = line.rsplit("; ", 1)
        minutes = run_notebooks.minutes_to_read(nbformat.read(path, as_version=4))
        assert reading == "{} minutes to read, {} for the exercises".format(*minutes)
        seconds, cores = re.fullmatch(
            r"(\d+) seconds to run \(\[(.*)\]\(\.\./docs/times\.csv\)\)", running
        ).groups()
        measured = times()[path.stem]
        assert seconds == measured["seconds"]
        number = re.search(r"(\d+) cores?$", measured["machine"])[1]
        words = {"1": "one CPU core", "2": "two CPU cores", "4": "four CPU cores"}
        assert cores == words.get(number, f"{number} CPU cores")


def linked(word, last):
    """Return text and target of the link after a word in the last cell, or None."""
    found = re.search(rf"{word}: \[(.*?)\]\((.*?)\)", last)
    return found and found.groups()


def test_next_and_back_lead_through_all_chapters_without_a_jump():
    names = [path.name for path in CHAPTERS]
    titles = [first_and_last(path)[0].partition("\n")[0].removeprefix("# ") for path in CHAPTERS]
    ends = [first_and_last(path)[1] for path in CHAPTERS]
    for i, last in enumerate(ends):
        assert f"Solutions: [solutions/{names[i]}](solutions/{names[i]})" in last
        assert linked("Back", last) == ((names[i - 1][:2], names[i - 1]) if i else None)
        assert linked("Next", last) == ((titles[i + 1], names[i + 1]) if i + 1 < len(ends) else None)
    assert linked("Start", ends[-1]) == (titles[0], names[0])


def checks(path):
    """Return the calls of check, as text."""
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return [
        ast.unparse(each) for each in calls if isinstance(each.func, ast.Name) and each.func.id == "check"
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_answers_check_themselves(path):
    """A lesson waits for the answers, its solutions have the right ones, and both ask the same."""
    solved = path.parent / "solutions" / path.name
    assert checks(path.with_suffix(".py")) == checks(solved.with_suffix(".py"))
    for notebook, said in ((path, "… not answered yet"), (solved, "✓ right")):
        lines = [line for line in run_notebooks.texts(nbformat.read(notebook, as_version=4)) if said in line]
        assert len(lines) == len(checks(path.with_suffix(".py"))) >= 1


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_wrong_answer_is_told(path, capsys):
    for call in checks(path.with_suffix(".py")):
        _, expected, *rest = ast.parse(call).body[0].value.args
        digits = {each.arg: each.value.value for each in ast.parse(call).body[0].value.keywords}
        assert not rest
        for wrong in ("nobody", 12345.678, [1, 2, 3]):
            lessons.check(wrong, expected.value, **digits)
            assert capsys.readouterr().out.startswith("✗"), call


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_exercise_is_solved(path):
    lesson, solved = path.with_suffix(".py"), path.parent / "solutions" / path.with_suffix(".py").name
    exercises = re.findall(r"^# ### Exercise (\d) · ", lesson.read_text("utf-8"), re.M)
    assert re.findall(r"^# ## (\d)\. ", solved.read_text("utf-8"), re.M) == exercises


LATER = {"clip_by_value", "clip_by_norm"}  # notebook 08


def definitions(path):
    """Syntax trees of a file's functions and classes by name, docstrings aside."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner) is not None:
                    inner.body = inner.body[1:]
            found[node.name] = ast.dump(node)
    return found


@pytest.mark.parametrize(
    ("notebook", "module", "left_out"),
    [
        ("01_ser_fiq", "quality", set()),
        ("02_quality_node", "regression", set()),
        ("03_saliency", "saliency", LATER),
        ("09_evidence", "evidence", set()),
    ],
)
def test_method_notebooks_define_the_library_s_functions(notebook, module, left_out):
    inline = definitions(ROOT / "notebooks" / f"{notebook}.py")
    library = definitions(ROOT / "plqlite" / f"{module}.py")
    assert library.keys() - left_out <= inline.keys()
    for name in library.keys() - left_out:
        assert inline[name] == library[name], f"{name} in {notebook} is not the library's"


def small_notebook(tmp_path, source="print(6 * 7)", text="42\n", count=1, paired=None, name="stdout"):
    output = nbformat.v4.new_output("stream", name=name, text=text)
    cell = nbformat.v4.new_code_cell(source, execution_count=count, outputs=[output] if text else [])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "small.ipynb"
    nbformat.write(notebook, path)
    script = jupytext.writes(notebook, fmt="py:percent")
    path.with_suffix(".py").write_text(script.replace(source, paired or source))
    return path, notebook


def test_planted_faults_are_found(tmp_path):
    path, notebook = small_notebook(tmp_path)
    for check, argument in ((check_pair, path), (check_executed, notebook), (check_outputs, notebook)):
        check(argument)
    for planted in ({"count": None}, {"count": 2}):
        with pytest.raises(AssertionError):
            check_executed(small_notebook(tmp_path, **planted)[1])
    for planted in (
        {"name": "stderr"},
        {"text": "saved in /home/me/plq.png"},
        {"text": "in C:\\me"},
        {"text": "✗ it rises"},
    ):
        with pytest.raises(AssertionError):
            check_outputs(small_notebook(tmp_path, **planted)[1])
    for planted in ({"paired": "print(6 * 8)"}, {"paired": "print(6 * 7)\n\n# %%\nprint(8)"}):
        with pytest.raises(AssertionError):
            check_pair(small_notebook(tmp_path, **planted)[0])
    path, _ = small_notebook(tmp_path)
    script = path.with_suffix(".py").read_text()
    path.with_suffix(".py").write_text(script.replace("display_name: Python 3", "display_name: Python 4"))
    with pytest.raises(AssertionError):
        check_pair(path)


@pytest.mark.slow
def test_nbval_runs_strictly(tmp_path):
    """With this project's own settings: a changed number and a cell that was never run fail."""
    for name, text in {"honest": "42\n", "changed": "43\n", "never_run": ""}.items():
        path, _ = small_notebook(tmp_path, text=text)
        path.rename(tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-rpf", "-n0", "-c", str(ROOT / "pyproject.toml")]
    command += [f"--rootdir={tmp_path}", *tmp_path.glob("*.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = re.findall(r"^(PASSED|FAILED) .*?(\w+)\.ipynb", done.stdout, re.M)
    assert sorted(found) == [("FAILED", "changed"), ("FAILED", "never_run"), ("PASSED", "honest")]
