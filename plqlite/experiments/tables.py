"""Tables that grow on disk row by row, so that long work can be interrupted and resumed."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from plqlite.files import write_aside


def open_table(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    """Read a table (.csv) that grows row by row; create it if it does not exist.

    A last row that an interruption cut off is removed, in the file too.

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
        The file has other columns, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> table = open_table(Path(tempfile.mkdtemp(), "ages.csv"), {"name": str, "age": int})
    >>> list(table.columns), len(table)
    (['name', 'age'], 0)
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, pd.DataFrame(columns=list(columns)))
    content = path.read_bytes()
    header = content.split(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    if header != list(columns):  # before anything is written: the file may hold something else
        raise ValueError(f"{path} is another table (its columns: {', '.join(header)}): choose another file.")
    complete = content[: content.rfind(b"\n") + 1]  # no cell contains a line break, see append_rows
    if complete != content:
        write_aside(path, lambda file: file.write(complete))
    return _parse(complete, columns, path)


def _parse(content: bytes, columns: Mapping[str, type], path: Path) -> pd.DataFrame:
    """Turn the content of a table into rows; the path is for the error message."""
    try:
        return pd.read_csv(
            io.BytesIO(content),
            dtype=dict(columns),
            keep_default_na=False,  # a person may be called None
            na_values={name: "" for name, kind in columns.items() if kind is float},
            engine="python",  # reads a float as Python does: exactly what was written
        )
    except (ValueError, AssertionError) as error:  # AssertionError: pandas, for a row with too many cells
        raise ValueError(f"{path} is damaged ({error}): fix it, or delete it and start again.") from error


def append_rows(path: Path, columns: Iterable[str], rows: pd.DataFrame | list[dict]) -> None:
    """Add rows to a table that `open_table` has created; line breaks within a text become spaces.

    Examples
    --------
    >>> import tempfile
    >>> path, columns = Path(tempfile.mkdtemp(), "ages.csv"), {"name": str, "age": int}
    >>> empty = open_table(path, columns)
    >>> append_rows(path, columns, [{"name": "Ada", "age": 36}])
    >>> path.read_text().splitlines()
    ['name,age', 'Ada,36']
    """
    table = pd.DataFrame(rows)[list(columns)].replace(r"[\r\n]+", " ", regex=True)
    text = table.to_csv(index=False, header=False, lineterminator="\n")
    with path.open("ab") as file:
        file.write(text.encode(errors="backslashreplace"))  # a path may hold bytes that are not UTF-8


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a whole table, unless the file holds just that already.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "ages.csv")
    >>> write_table(path, pd.DataFrame({"name": ["Ada"], "age": [36]}))
    >>> path.read_text().splitlines()
    ['name,age', 'Ada,36']
    """
    content = table.to_csv(index=False, lineterminator="\n").encode()
    if not path.exists() or path.read_bytes() != content:
        write_aside(path, lambda file: file.write(content))
