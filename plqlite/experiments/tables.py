"""Tables that grow on disk row by row, so that long work can be interrupted and resumed.

CSV, not the Parquet shards of `plqlite.scale`: rows come a few at a time, and each is kept at once, so shards
would be thousands of tiny files. These tables are read by eye, in a spreadsheet, and compared by Git.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from plqlite.files import require_file, write_aside

FORMULA = r"'*[=+\-@]"  # begins what a spreadsheet would compute


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
    complete = _complete_rows(path, columns)
    if complete != path.read_bytes():
        write_aside(path, lambda file: file.write(complete))
    return _parse(complete, columns, path)


def read_table(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    r"""Read a table as `open_table` does, but leave the file as it is: another program may be writing it.

    Raises
    ------
    OSError, ValueError
        There is no such file, or it has other columns, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> path, columns = Path(tempfile.mkdtemp(), "ages.csv"), {"name": str, "age": int}
    >>> path.write_text("name,age\nAda,36\nBo")
    18
    >>> read_table(path, columns)["name"].tolist()
    ['Ada']
    """
    return _parse(_complete_rows(path, columns), columns, path)


def _complete_rows(path: Path, columns: Mapping[str, type]) -> bytes:
    """Return the content of a table without a last row that was cut off."""
    require_file(path)
    content = path.read_bytes()
    header = content.split(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split(",")
    if header != list(columns):  # before anything is written: the file may hold something else
        raise ValueError(f"{path} is another table (its columns: {', '.join(header)}): choose another file.")
    return content[: content.rfind(b"\n") + 1]  # no cell contains a line break, see append_rows


def _parse(content: bytes, columns: Mapping[str, type], path: Path) -> pd.DataFrame:
    """Turn the content of a table into rows; the path is for the error message."""
    try:
        if b"\0" in content:  # what a disk may leave after a power cut; pandas would not say so
            raise ValueError("it holds zero bytes")
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=dict(columns),
            keep_default_na=False,  # a person may be called None
            na_values={name: "" for name, kind in columns.items() if kind is float},
            engine="python",  # reads a float as Python does: exactly what was written
        )
    except (ValueError, AssertionError) as error:  # AssertionError: pandas, for a row with too many cells
        raise ValueError(f"{path} is damaged ({error}): fix it, or delete it and start again.") from error
    texts = table[[name for name, kind in columns.items() if kind is str]]
    if texts.isna().any(axis=None):
        raise ValueError(f"{path} is damaged (a row lacks cells): fix it, or delete it and start again.")
    return table.assign(**texts.replace(rf"^'(?={FORMULA})", "", regex=True))  # see `append_rows`


def _as_csv(table: pd.DataFrame, header: bool) -> bytes:
    """Return rows as CSV; a text that a spreadsheet would take for a formula gets a ' in front."""
    texts = table.select_dtypes(exclude="number").replace(rf"^(?={FORMULA})", "'", regex=True)
    text = table.assign(**texts).to_csv(index=False, header=header, lineterminator="\n")
    return text.encode(errors="backslashreplace")  # a path may hold bytes that are not UTF-8


def append_rows(path: Path, columns: Iterable[str], rows: pd.DataFrame | list[dict]) -> None:
    """Add rows to a table that `open_table` has created; line breaks within a text become spaces.

    A text that a spreadsheet would take for a formula, such as =1+1, gets a ' in front, as spreadsheets
    themselves write a text; `open_table` takes it away.

    Examples
    --------
    >>> import tempfile
    >>> path, columns = Path(tempfile.mkdtemp(), "ages.csv"), {"name": str, "age": int}
    >>> empty = open_table(path, columns)
    >>> append_rows(path, columns, [{"name": "Ada", "age": 36}])
    >>> path.read_text().splitlines()
    ['name,age', 'Ada,36']
    """
    if not isinstance(rows, pd.DataFrame):
        rows = [
            {name: escaped(value) if isinstance(value, str) else value for name, value in row.items()}
            for row in rows
        ]
    table = pd.DataFrame(rows)[list(columns)].replace(r"[\r\n]+", " ", regex=True)
    with path.open("ab") as file:
        file.write(_as_csv(table, header=False))


def escaped(text: str) -> str:
    r"""Escape what is no UTF-8 in a text, such as a path: pandas refuses it if pyarrow is installed.

    Examples
    --------
    >>> print(escaped("ada\udcff.png"))
    ada\udcff.png
    """
    return text.encode("utf-8", "backslashreplace").decode()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a whole table, as `append_rows` does, unless the file holds just that already.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "ages.csv")
    >>> write_table(path, pd.DataFrame({"name": ["Ada"], "age": [36]}))
    >>> path.read_text().splitlines()
    ['name,age', 'Ada,36']
    """
    content = _as_csv(table, header=True)
    if not path.exists() or path.read_bytes() != content:
        write_aside(path, lambda file: file.write(content))
