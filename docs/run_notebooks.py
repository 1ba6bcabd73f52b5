"""Run the notebooks and time them: each .ipynb is written from its .py, with the outputs of a fresh kernel.

    python docs/run_notebooks.py [NAME …] [--check]

NAME is 00_quickstart or solutions/00_quickstart (default: all of them, solutions too). The seconds go to
docs/times.csv and to the header of the chapter, and so do the minutes that reading takes: a minute for 200
words, of prose and of unfolded code, and one for each figure; exercises say their own. A notebook that fails,
or that says ✗, keeps its old files.

--check writes nothing: it prints where the text that comes out differs from what is stored.
"""

import argparse
import csv
import difflib
import io
import os
import platform
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from pictures import pictures

from plqlite.files import write_text

NOTEBOOKS, TIMES = Path(__file__).parents[1] / "notebooks", Path(__file__).with_name("times.csv")
HEADER = re.compile(r"^((?:# )?\| \*\*Time\*\* \| ).* \|$", re.M)
EXERCISE = re.compile(r"^### Exercise (\d) · (.+) \((easy|medium|hard), (\d+) minutes\)$", re.M)
CORES = os.cpu_count() or 1
WORD = {1: "one CPU core", 2: "two CPU cores", 4: "four CPU cores"}.get(CORES, f"{CORES} CPU cores")


def machine() -> str:
    """Name the CPU, and how many cores of it are here."""
    facts = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", facts.read_text("utf-8")) if facts.exists() else None
    return f"{found[1] if found else platform.processor()}, {CORES} cores"


def run(script: str, folder: Path) -> tuple[nbformat.NotebookNode, float]:
    """Execute the cells of a script in a new kernel; return the notebook and the seconds that it took."""
    notebook = jupytext.reads(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same each time, so that a diff shows what changed
    start = time.perf_counter()
    client = NotebookClient(
        notebook, timeout=900, startup_timeout=900, record_timing=False, store_widget_state=False
    )
    client.execute(cwd=str(folder))
    return notebook, time.perf_counter() - start


def minutes_to_read(notebook: nbformat.NotebookNode) -> tuple[int, int]:
    """Return the minutes that it takes to read a chapter, and those of its exercises."""
    unfolded = [each for each in notebook.cells if "hide-input" not in each.metadata.get("tags", [])]
    sources = [cell.source for cell in unfolded]
    start = next((i for i, source in enumerate(sources) if source.startswith("## Exercises")), len(sources))
    words = sum(len(source.split()) for source in sources[:start])
    exercises = sum(int(found[3]) for found in EXERCISE.findall("\n".join(sources[start:])))
    return round(words / 200 + len(list(pictures(notebook.cells)))), exercises


def write_pair(path: Path, script: str, notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Write .ipynb and .py, with the times in the header of both."""
    reading, exercises = minutes_to_read(notebook)
    header = rf"\g<1>{reading} minutes to read, {exercises} for the exercises; "
    header += f"{seconds:.0f} seconds to run ([{WORD}](../docs/times.csv)) |"
    notebook.cells[0].source = HEADER.sub(header, notebook.cells[0].source)
    script = HEADER.sub(header, script)
    write_text(path.with_suffix(".ipynb"), jupytext.writes(notebook, fmt="ipynb") + "\n")
    write_text(path, script)  # last: of a pair, JupyterLab reads the cells from the newer file


def remember(name: str, seconds: float) -> None:
    """Write the row of a notebook in docs/times.csv."""
    rows = csv.reader(TIMES.read_text("utf-8").splitlines()[1:]) if TIMES.exists() else []
    times = {row[0]: row for row in rows} | {name: [name, f"{seconds:.0f}", machine()]}
    table = io.StringIO()
    header = ["notebook", "seconds", "machine"]
    csv.writer(table, lineterminator="\n").writerows([header, *(times[each] for each in sorted(times))])
    write_text(TIMES, table.getvalue())


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the lines that each code cell printed, or returned as text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        f"[{number}] {line}"
        for number, cell in enumerate(cells, start=1)
        for output in cell.outputs
        for line in (output.get("text") or output.get("data", {}).get("text/plain", "")).splitlines()
    ]


def same_texts(path: Path, notebook: nbformat.NotebookNode) -> bool:
    """Print how the text of a notebook differs from what is stored; return whether it is the same."""
    stored = texts(nbformat.read(path.with_suffix(".ipynb"), as_version=4))
    lines = list(difflib.unified_diff(stored, texts(notebook), "stored", "now", lineterm="", n=0))
    print(*lines, sep="\n", end="\n" * bool(lines))
    return not lines


def main() -> int:
    """Run what was asked for; return 1 if a notebook failed, or prints something else than it did."""
    paths = [*sorted(NOTEBOOKS.glob("*.py")), *sorted(NOTEBOOKS.glob("solutions/*.py"))]
    known = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): path for path in paths}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    for name in ("PLQLITE_DATA", "PLQLITE_INPAINTED"):  # a reader's own data would change what is printed
        os.environ.pop(name, None)
    os.environ |= {"OMP_NUM_THREADS": str(CORES), "OMP_WAIT_POLICY": "PASSIVE"}  # idle threads do not spin
    return int(not all([run_one(name, known[name], arguments.check) for name in arguments.names or known]))


def run_one(name: str, path: Path, check: bool) -> bool:
    """Run a notebook, and write it, or compare it; return whether that went well."""
    script = path.read_text("utf-8")
    try:
        notebook, seconds = run(script, path.parent)
    except (CellControlSignal, DeadKernelError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    print(f"{name}: {seconds:.0f} seconds", flush=True)
    if broken := [line for line in texts(notebook) if "✗" in line]:
        print(*broken, sep="\n", file=sys.stderr)
        return False
    if check:
        return same_texts(path, notebook)
    write_pair(path, script, notebook, seconds)
    remember(name, seconds)
    return True


if __name__ == "__main__":
    sys.exit(main())
