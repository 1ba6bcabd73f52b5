"""What the project says of itself is true."""

import contextlib
import fnmatch
import io
import re
from importlib.metadata import distribution, metadata, requires
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest brings this one
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = metadata("plqlite")  # as pip reads pyproject.toml
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REQUIREMENTS = [each for each in map(Requirement, requires("plqlite")) if each.name != "plqlite"]
PAGES = [ROOT / "README.md", ROOT / "course" / "guide.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
README = TEXTS["README.md"]


def test_the_installed_project_is_this_one():
    """What follows is read from what pip has installed: install again after a change of pyproject.toml."""
    assert PROJECT["Version"] == PYPROJECT["project"]["version"]
    lines = [*PYPROJECT["project"]["dependencies"]]
    lines += [line for extra in PYPROJECT["project"]["optional-dependencies"].values() for line in extra]
    names = {Requirement(line).name for line in lines} - {"plqlite"}
    assert names == {requirement.name for requirement in REQUIREMENTS}


def test_environment_pins_what_the_project_asks_for():
    *_, pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    pinned = dict(line.split("==") for line in pip["pip"])
    assert pinned.keys() == {requirement.name for requirement in REQUIREMENTS}
    for requirement in REQUIREMENTS:
        assert Version(pinned[requirement.name]) in requirement.specifier, requirement.name


def test_python_of_the_environment_is_new_enough():
    python, *_ = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert Version(python.removeprefix("python=")) >= Version(PROJECT["Requires-Python"].removeprefix(">="))


def test_every_dependency_says_why():
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    for name in (requirement.name for requirement in REQUIREMENTS):
        found = [line for line in lines if re.match(rf'    "{name}[<>=]', line)]
        assert found, name
        assert all("  # " in line for line in found), found


def test_extras_that_name_each_other_exist():
    extras = set(PROJECT.get_all("Provides-Extra"))
    own = [each for each in map(Requirement, requires("plqlite")) if each.name == "plqlite"]
    assert own
    assert all(each.extras <= extras for each in own)


def test_citation_prefers_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["Version"]
    for work in (citation, citation["preferred-citation"]):
        assert work["title"]
        assert all("name" in author or "family-names" in author for author in work["authors"])
    paper = citation["preferred-citation"]
    assert paper["type"] == "article"
    assert paper["url"].endswith("2110.11001")
    assert [author["family-names"] for author in paper["authors"]][:2] == ["Terhörst", "Huber"]


def test_the_command_is_there():
    (command,) = (each for each in distribution("plqlite").entry_points if each.group == "console_scripts")
    assert command.name == "plqlite"
    assert callable(command.load())
    assert PYPROJECT["project"]["scripts"] == {"plqlite": command.value}


def test_all_packages_and_their_data_are_packaged():
    packages = PYPROJECT["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in (ROOT / "plqlite").rglob("__init__.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(packages)
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    assert (ROOT / "plqlite" / "py.typed").is_file()
    for folder in folders:
        package = ".".join(folder.relative_to(ROOT).parts)
        data = [path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py"]
        for name in data:
            assert any(fnmatch.fnmatch(name, each) for each in patterns.get(package, [])), (
                f"{package}: {name}"
            )


# --- README and docs ---


def test_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_readme_snippet_prints_what_it_says():
    code, printed = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.S).groups()
    assert len([line for line in code.splitlines() if line]) <= 6
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == printed


def anchors(path):
    """Return the anchors that a Markdown page or a notebook has, one for each heading."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
        return {
            heading.replace(" ", "-") for text in texts for heading in re.findall(r"^#+ (.*)$", text, re.M)
        }
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[page]):
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), link
        assert not anchor or unquote(anchor) in anchors(path), link


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_exist(page):
    """In prose, tables and commands; NAME and PHOTO stand for what the reader has."""
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in ".")
    named = re.findall(rf"(?<![\w/$.-])((?:\.\./)?(?:{folders})/[\w./-]*\w)", TEXTS[page])
    for name in {name.removeprefix("../") for name in named}:
        made = name.startswith(("data/", "build/")) or re.search(r"[A-Z]{4}", name)
        assert made or (ROOT / name).exists(), name


def test_every_page_is_linked_from_readme():
    linked = set(re.findall(r"\]\(([^)#]+)", README))
    assert set(TEXTS) - {"README.md"} <= linked


def test_readme_table_lists_every_notebook():
    listed = re.findall(r"^\| \[(\w+)\]\(notebooks/", README, re.M)
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


TROUBLESHOOTING = TEXTS.get("docs/troubleshooting.md", "")
NOT_OURS = (  # messages of Python, pip and JupyterLab
    "error: externally-managed-environment",
    "No module named",
    "'cv2'",
    "'scipy'",
    "'sklearn'",
    "Error displaying widget: model not found",
)
OURS = [
    message
    for row in re.findall(r"^\| (`.*?) \|", TROUBLESHOOTING, re.M)
    for message in re.findall(r"`(.*?)`", row)
    if not message.startswith(NOT_OURS)
]


@pytest.mark.parametrize("message", OURS)
def test_troubleshooting_is_keyed_by_messages_of_the_code(message):
    parts = re.split(r"…|2 faces|1\.00|'cuda'", message)
    code = "".join(path.read_text("utf-8") for path in (ROOT / "plqlite").rglob("*.py"))
    assert all(part.strip() in code for part in parts), message


@pytest.mark.parametrize(
    "message",
    [
        "The weights file … is missing: run  ",
        "… has SHA-256 …, expected …",
        "No face found in an image of … pixels",
        "Found 2 faces, using the largest",
        "Pixels lie in 0..1 (largest 1.00): the range is 0..255",
        "Dropout does not move the embedding of …",
        "Device 'cuda' is not available here",
        "… is not calibrated: Q̂ is the raw Q",
        "… is missing: download … and …",
        "… was fitted for another model or input: ignored",
        "… holds no index.csv",
        "… has no reference statistics",
        "… is another table",
        "… is not an ONNX file, or was cut off",
        "The head cannot begin at …",
    ],
)
def test_troubleshooting_knows_what_people_meet(message):
    assert any(each.startswith(message) for each in OURS)


def test_public_names_are_documented():
    import plqlite

    for name in plqlite.__all__:
        assert getattr(plqlite, name).__doc__, name
