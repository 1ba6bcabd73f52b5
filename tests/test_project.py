"""What the project says of itself is true."""

import builtins
import contextlib
import io
import re
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = metadata("plqlite")  # as pip reads pyproject.toml
README = (ROOT / "README.md").read_text("utf-8")


def test_environment_pins_what_the_project_asks_for():
    *_, pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    pinned = dict(line.split("==") for line in pip["pip"])
    asked = {requirement.name: requirement.specifier for requirement in map(Requirement, requires("plqlite"))}
    assert pinned.keys() == asked.keys()
    for name, version in pinned.items():
        assert Version(version) in asked[name], name


def test_python_of_the_environment_is_new_enough():
    python, *_ = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert Version(python.removeprefix("python=")) >= Version(PROJECT["Requires-Python"].removeprefix(">="))


def test_every_dependency_says_why():
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    for name in (Requirement(text).name for text in requires("plqlite")):
        (line,) = (line for line in lines if re.match(rf'    "{name}[<>=]', line))
        assert "  # " in line, line


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


def test_readme_snippet_prints_what_it_says():
    code, printed = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.S).groups()
    assert len([line for line in code.splitlines() if line]) <= 6
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == printed


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_readme_table_lists_every_notebook():
    listed = re.findall(r"^\| \[(\w+)\]\(notebooks/", README, re.M)
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


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
        "… was fitted for another model or input: left aside",
        "… holds no index.csv",
        "… is another table",
        "… is not an ONNX file, or was cut off",
        "The head cannot begin at …",
    ],
)
def test_troubleshooting_is_keyed_by_messages_of_the_code(message):
    assert f"`{message}" in README
    parts = re.split(r"…|2 faces|1\.00|'cuda'", message)
    code = "".join(path.read_text("utf-8") for path in (ROOT / "plqlite").glob("*.py"))
    assert all(part.strip() in code for part in parts), message


@pytest.mark.parametrize("name", ["quality", "regression", "saliency"])
def test_method_files_need_torch_alone(name):
    source = (ROOT / "plqlite" / f"{name}.py").read_text("utf-8")

    def torch_alone(module, *rest):
        assert module.split(".")[0] == "torch", f"{name}.py imports {module}"
        return __import__(module, *rest)

    namespace = {"__name__": name, "__builtins__": vars(builtins) | {"__import__": torch_alone}}
    exec(compile(source, name, "exec"), namespace)


def test_public_names_are_documented():
    import plqlite

    for name in plqlite.__all__:
        assert getattr(plqlite, name).__doc__, name
