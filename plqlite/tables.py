"""Tables that grow on disk row by row, so that long work can be interrupted and goes on."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from plqlite.explain import write_aside


def open_table(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    """Read a table (.csv) that grows row by row, and make it if there is none.

    A last row that an interruption cut off is removed, from the file too.

    Parameters
    ----------
    path : of the file
    columns : name and type (str, int, float) of each

    Returns
    -------
    The rows so far.

    Raises
    ------
    ValueError
        The file holds other columns, or is damaged.

    Examples
    --------
    >>> open_table(Path("ages.csv"), {"name": str, "age": int})
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, pd.DataFrame(columns=list(columns)))
    content = path.read_bytes()
    header = content.split(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    if header != list(columns):  # before anything is written: it may be a file of something else
        raise ValueError(f"{path} is another table (its columns: {', '.join(header)}): choose another file.")
    complete = content[: content.rfind(b"\n") + 1]  # no cell holds a line break, see append_rows
    if complete != content:
        write_aside(path, lambda file: file.write(complete))
    try:
        return pd.read_csv(
            io.BytesIO(complete),
            dtype=dict(columns),
            keep_default_na=False,  # a person may be called None
            na_values={name: "" for name, kind in columns.items() if kind is float},
            engine="python",  # reads a float as Python does: exactly what was written
        )
    except (ValueError, AssertionError) as error:  # AssertionError: pandas, of a row with too many cells
        raise ValueError(f"{path} is damaged ({error}): mend it, or delete it and start anew.") from error


def append_rows(path: Path, columns: Iterable[str], rows: pd.DataFrame | list[dict]) -> None:
    """Add rows to a table that `open_table` has made; line breaks within a text become spaces."""
    table = pd.DataFrame(rows)[list(columns)].replace(r"[\r\n]+", " ", regex=True)
    text = table.to_csv(index=False, header=False, lineterminator="\n")
    with path.open("ab") as file:
        file.write(text.encode(errors="backslashreplace"))  # a path may hold bytes that are no UTF-8


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a whole table, unless it stands there already."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    if not path.exists() or path.read_bytes() != content:
        write_aside(path, lambda file: file.write(content))
