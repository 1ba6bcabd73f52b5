"""/conftest.py, on small planted repositories: tests leave the repository as it was."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

TEST = """
from pathlib import Path

def test_something():
    folder = Path(__file__).parent
    {}
"""
WRITES = '(folder / "left.csv").write_text("1,2")'
OWN = ("PYTEST_", "OMP_", "MKL_", "OPENBLAS_")  # what the session around it has set is not handed down
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take long to load
SAID = "ERROR: the tests have changed the repository (git status): "

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


@pytest.fixture
def session(tmp_path):
    """Run a test in a small repository with our conftest; returns exit status and output."""

    def run(body, *options, repository=True, **environment):
        for name in ("conftest.py", ".gitignore"):
            shutil.copy(ROOT / name, tmp_path)
        (tmp_path / "tracked.txt").write_text("mine")
        (tmp_path / "test_planted.py").write_text(TEST.format(body))
        if repository:
            for command in (["init", "-q"], ["add", "."]):
                subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
        plugins = ["-p", "no:cacheprovider", *(["-p", "xdist"] if options else [])]
        command = [sys.executable, "-m", "pytest", "-q", *plugins, *options, str(tmp_path)]
        outer = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        done = subprocess.run(
            command, cwd=tmp_path, env=outer | ALONE | environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout

    return run


@needs_git
def test_a_session_that_leaves_nothing_passes(session):
    status, printed = session("assert (folder / 'tracked.txt').exists()")
    assert status == 0
    assert SAID not in printed


@needs_git
@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_file_that_is_left_fails_the_session_in_one_line(session, options):
    status, printed = session(WRITES, *options)
    assert status == 1
    assert "1 passed" in printed
    assert printed.count(SAID) == 1
    assert f"{SAID}?? left.csv\n" in printed


@needs_git
def test_a_file_that_is_gone_fails_the_session(session):
    status, printed = session('(folder / "tracked.txt").unlink()')
    assert status == 1
    assert f"{SAID}A  tracked.txt, AD tracked.txt\n" in printed


@needs_git
def test_a_file_written_by_a_bare_name_is_not_in_the_repository(session):
    assert session('Path("left.csv").write_text("1,2"); assert folder not in Path.cwd().parents')[0] == 0


def test_without_a_repository_there_is_nothing_to_compare(session):
    assert session(WRITES, repository=False, GIT_CEILING_DIRECTORIES=str(ROOT.anchor))[0] == 0


def test_without_git_there_is_nothing_to_compare(session, tmp_path):
    assert session(WRITES, repository=False, PATH=str(tmp_path))[0] == 0


def test_each_process_has_one_thread(session):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    status, _ = session(f"import os; assert all(os.environ[name] == '1' for name in {names})", "-n", "2")
    assert status == 0
    status, _ = session("import os; assert os.environ['OMP_NUM_THREADS'] == '3'", OMP_NUM_THREADS="3")
    assert status == 0  # what the reader has set stays
