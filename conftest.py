"""What holds for every test, notebook and example: one thread, a folder of its own, a clean repository."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported, and inherited by workers, kernels and subprocesses alike: where several of them
# run at once, each with a pool of as many threads as there are cores, the pools spin waiting for one another.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# All results are those of a CPU, with which a GPU is compared, if it is shown to the test that does so:
# CUDA_VISIBLE_DEVICES=0 pytest tests/test_explanation.py -k other_devices
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# The reader's own data set would change what the notebooks print.
for name in ("PLQLITE_DATA", "PLQLITE_INPAINTED"):
    os.environ.pop(name, None)

# --doctest-modules would import these, and run whole notebooks and benchmarks with them.
collect_ignore_glob = ["notebooks/*.py", "notebooks/solutions/*.py", "tests/bench/*", "data_scripts/*"]

ROOT = Path(__file__).parent
BEFORE, CHANGED = pytest.StashKey[set[str] | None](), pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test and each example in an empty folder: what it writes by a bare name stays there."""
    monkeypatch.chdir(tmp_path)


def pytest_configure(config: pytest.Config) -> None:
    """Let xdist hand out the files in the order below, which it would sort by their number of tests."""
    config.option.loadscopereorder = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark notebooks and examples as slow; if workers share the files, let them begin with the long ones."""
    for item in items:
        if item.path.suffix == ".ipynb" or isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.slow)
    yield  # -m leaves out what is not asked for
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        long = {
            item.path for item in items if item.path.suffix == ".ipynb" or item.get_closest_marker("browser")
        }
        items.sort(key=lambda item: (item.path not in long, -slow[item.path]))


def changes() -> set[str] | None:
    """Return what `git status` lists, or None where git or a repository is missing."""
    command = ["git", "--no-optional-locks", "-C", str(ROOT), "status", "--porcelain"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return set(done.stdout.splitlines()) if done.returncode == 0 else None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember how the repository looks; once, not in each worker of xdist."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[BEFORE] = changes()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if the tests have changed the repository."""
    before = session.config.stash.get(BEFORE, None)
    after = changes() if before is not None else None
    if after is not None and after != before:
        session.config.stash[CHANGED] = sorted(after ^ before)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what has changed."""
    if CHANGED in config.stash:
        changed = ", ".join(line.strip() for line in config.stash[CHANGED])
        terminalreporter.write_line(
            f"ERROR: the tests have changed the repository (git status): {changed}", red=True
        )
