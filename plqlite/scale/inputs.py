"""Which images are to be scored: all files below a folder, or those that an index names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from plqlite.files import require_file


class Item(NamedTuple):
    """One file that is to be scored."""

    path: str  # where it is; bytes that are no UTF-8 are kept, as Python keeps them in names of files
    name: str  # below the folder, or as the index has it: what tells it from all others
    identity: str | None  # the subject, if known

    @property
    def file(self) -> bytes:
        """Its name as bytes, which any name of a file can be."""
        return os.fsencode(self.name)


def as_text(name: str) -> str:
    r"""Return the name of a file as a text can hold it: bytes that are no UTF-8 are escaped.

    Examples
    --------
    >>> as_text("a\udcff.jpg")
    'a\\xff.jpg'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_items(source: str | Path, leave_out: str | Path | None = None) -> Iterator[Item]:
    """Find what is to be scored, one by one, so that millions of files take no memory.

    Parameters
    ----------
    source : a folder, of which all files count but for hidden ones, and the first folder below it names the
        subject; or an index (.csv or .parquet) with a column `path`, relative to the index, and perhaps
        `identity`; a path that it names twice counts once
    leave_out : a folder below it that does not count, such as the one that is written to

    Raises
    ------
    FileNotFoundError, OSError
        There is no such folder or index.
    ValueError
        The index is not one; the folder to be left out is the source itself.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "Ada").mkdir(), (folder / "Ada" / "1.jpg").touch()
    (None, None)
    >>> [(item.name, item.identity) for item in find_items(folder)]
    [('Ada/1.jpg', 'Ada')]
    """
    source = Path(source).absolute()  # a worker on another machine begins elsewhere
    if not source.is_dir():
        return _items_of_index(source)
    if _place(leave_out) == _place(source):
        raise ValueError(f"{leave_out} holds the photos: name another folder for the scores.")
    return (_item_below(source, path) for path in _files_below(os.fspath(source), _place(leave_out)))


def _item_below(folder: Path, path: str) -> Item:
    """Describe a file below a folder."""
    parts = Path(path).relative_to(folder).parts
    return Item(path, "/".join(parts), as_text(parts[0]) if len(parts) > 1 else None)


def _files_below(folder: str, leave_out: tuple | None, above: frozenset = frozenset()) -> Iterator[str]:
    """Find the files below a folder, in the order of their names.

    Links to folders are followed, but not back to where they come from. A folder that cannot be listed is
    found itself, so that it has an error row.
    """
    above |= {_place(folder)}
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.path) for entry in found if not entry.name.startswith("."))
    except OSError:
        yield folder
        return
    for _, path in entries:
        if not os.path.isdir(path):
            yield path
        elif _place(path) not in {*above, leave_out}:
            yield from _files_below(path, leave_out, above)


def _place(path: str | Path | None) -> tuple | None:
    """Return what tells a folder from all others, however it is reached; None if it is not there."""
    if path is None or not os.path.exists(path):
        return None
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _items_of_index(index: Path) -> Iterator[Item]:
    """Read the items of an index."""
    require_file(index)
    try:
        read = pd.read_parquet if index.suffix == ".parquet" else _read_csv
        table = read(index)
    except (ValueError, OSError) as error:  # ValueError: of pandas and of pyarrow, for what is no table
        raise ValueError(f"{index} cannot be read as a table ({error}): give a .csv or .parquet.") from error
    if "path" not in table:
        columns = ", ".join(map(str, table.columns))
        raise ValueError(
            f"{index} has no column path (it has: {columns}): rename the one that holds the paths."
        )
    table = table.drop_duplicates("path")
    names = table["identity"] if "identity" in table else [None] * len(table)
    rows = zip(map(str, table["path"]), names, strict=True)
    return (Item(str(index.parent / path), path, _subject(name)) for path, name in rows)


def _subject(name: object) -> str | None:
    """Return a subject of an index; an empty cell is none."""
    return None if pd.isna(name) or name == "" else as_text(str(name))


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV of texts; a subject may be called None. Texts of pandas hold no surrogates, objects do."""
    return pd.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
