"""Who may import whom, and what `import plqlite` costs."""

import ast
import builtins
import graphlib
import importlib
import statistics
import subprocess
import sys

import pytest

import plqlite
from conftest import ROOT

PAPER = ("plqlite.quality", "plqlite.evidence", "plqlite.regression", "plqlite.saliency")
PUBLIC = (
    "sface facenet arcface from_onnx from_module load_face sample_faces explain Explanation ser_fiq "
    "ser_fiq_closed_form scale_quality node_weights fit_scaling fit_gamma calibrate advise show grid explore "
    "FaceModel Input Scaling NoFaceFound UnreadableImage UnusableModel"
).split()


def module_files(root):
    """Return the file of each module of plqlite by its dotted name."""
    files = {}
    for path in (root / "plqlite").rglob("*.py"):
        *folders, stem = path.relative_to(root).with_suffix("").parts
        files[".".join(folders if stem == "__init__" else [*folders, stem])] = path
    return files


def imports_of(name, path, modules):
    """Return which of the modules a module imports: anywhere, in functions and for type checkers too."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & modules
            found |= {base} if names - modules else set()  # a function, from the module itself
    return {each for each in found if each.partition(".")[0] == "plqlite"}


def house(root=ROOT):
    files = module_files(root)
    return {name: imports_of(name, path, files.keys()) for name, path in files.items()}


def check_no_circle(graph):
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def check_one_way(graph):
    """The paper knows nobody, networks know no experiments, and nobody else knows these either."""
    for name, imported in graph.items():
        assert not (name in PAPER and imported), f"{name} imports {imported}"
        experiments = {each for each in imported if each.startswith("plqlite.experiments")}
        assert not experiments or name.startswith("plqlite.experiments"), f"{name} imports {experiments}"
        # Its names are loaded when they are used: the circle would only be hidden.
        programs = ("plqlite.__main__", "plqlite.command_line")
        assert "plqlite" not in imported or name in programs, f"{name} imports plqlite itself"


def test_the_house_is_all_there():
    graph = house()
    assert {*PAPER, "plqlite.networks.model", "plqlite.experiments.masks", "plqlite.__main__"} <= graph.keys()
    assert "plqlite.networks.model" in graph["plqlite.networks.onnx"]  # imports are seen
    for name, imported in graph.items():
        assert imported <= graph.keys(), f"{name} imports {imported - graph.keys()}, which is not there"


def test_no_circle_of_imports():
    check_no_circle(house())


def test_imports_go_one_way():
    check_one_way(house())


def test_planted_imports_are_found(tmp_path):
    def planted(**sources):
        for name, source in {"plqlite": "", "plqlite.networks": "", "plqlite.experiments": ""}.items():
            path = tmp_path.joinpath(*name.split("."), "__init__.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        for name, source in {
            "quality": "",
            "a": "",
            "networks/b": "",
            "experiments/c": "",
            **sources,
        }.items():
            (tmp_path / "plqlite" / f"{name}.py").write_text(source)
        return house(tmp_path)

    for check in (check_no_circle, check_one_way):
        check(planted(a="from plqlite.networks import b\nfrom plqlite.quality import ser_fiq"))
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from plqlite.a import something"
    for source in ("import plqlite.a", "from . import a", "def f():\n    from .a import g", hidden):
        with pytest.raises(graphlib.CycleError, match="nodes are in a cycle"):
            check_no_circle(planted(a="from plqlite.quality import ser_fiq", quality=source))
    for place, source in (
        ("quality", "from plqlite import a"),
        ("quality", "import plqlite"),
        ("networks/b", "def f():\n    from ..experiments.c import g"),
        ("a", "from plqlite import experiments"),
        ("a", "from plqlite.experiments import c"),
        ("a", "import plqlite"),
    ):
        with pytest.raises(AssertionError, match="imports"):
            check_one_way(planted(**{place: source}))


@pytest.mark.parametrize("name", ["quality", "evidence", "regression", "saliency"])
def test_the_paper_s_files_need_torch_alone(name):
    source = (ROOT / "plqlite" / f"{name}.py").read_text("utf-8")

    def torch_alone(module, *rest):
        assert module.split(".")[0] == "torch", f"{name}.py imports {module}"
        return __import__(module, *rest)

    namespace = {"__name__": name, "__builtins__": vars(builtins) | {"__import__": torch_alone}}
    exec(compile(source, name, "exec"), namespace)
    imported = imports_of(f"plqlite.{name}", ROOT / "plqlite" / f"{name}.py", house().keys())
    assert not imported


# --- public names ---


def test_public_names_are_there():
    assert set(PUBLIC) <= set(plqlite.__all__)
    for name in plqlite.__all__:
        assert getattr(plqlite, name) is not None
        assert name in dir(plqlite)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = plqlite.no_such_name


def test_no_module_is_called_like_a_public_function():
    """Importing the module would put it in the function's place."""
    modules = {name.rpartition(".")[2] for name in module_files(ROOT)}
    stub = ast.parse((ROOT / "plqlite" / "__init__.pyi").read_text("utf-8"))
    functions = {alias.asname for node in stub.body if node.module for alias in node.names}
    assert set(PUBLIC) <= functions
    assert not modules & functions


def test_every_module_can_be_imported():
    for name in module_files(ROOT):
        assert importlib.import_module(name).__doc__, name


# --- what an import costs ---

HEAVY = ("sklearn", "pandas", "cv2", "onnx", "insightface", "ipywidgets", "matplotlib")


def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_import_loads_nothing_that_is_not_needed_yet():
    program = "import sys, plqlite; print(*sys.modules)"
    loaded = set(python(program).split())
    assert "plqlite" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.slow
def test_import_costs_no_more_than_that_of_torch():
    """In turn, so that load hits both alike; the median, so that one slow moment does not count."""
    clock = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    seconds = {name: [] for name in ("torch", "plqlite")}
    for _ in range(5):
        for name, measured in seconds.items():
            measured.append(float(python(clock.format(name))))
    torch, own = (statistics.median(measured) for measured in seconds.values())
    assert own <= 1.3 * torch, f"import plqlite takes {own:.1f} s, import torch {torch:.1f} s"
