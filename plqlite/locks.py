"""One program at a time writes to a place, and what a killed one has left is removed."""

import contextlib
import glob
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from plqlite.files import PART


class InUse(OSError):
    """Another program is writing there."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other programs from writing a table, and what belongs to it, until the work is done.

    The lock is the operating system's, on a file `.NAME.lock` beside the table: it ends with the program, in
    whatever way that ends. `.NAME.holder` says who has it.

    Parameters
    ----------
    path : of the table, which need not exist; its folder is created

    Raises
    ------
    InUse
        Another program holds the lock.
    NotADirectoryError
        There is a file where the folder should be.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "ages.csv")
    >>> with locked(path):
    ...     length = path.write_text("name,age")
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{path.parent} is no folder: name one, or one to be created.") from error
    lock, holder = lock_of(path), path.with_name(f".{path.name}.holder")
    try:
        with FileLock(lock, timeout=0):
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder.write_text(f"process {os.getpid()} on {platform.node()} since {since}", "utf-8")
            remove_unfinished(path.parent, f"{path.stem[:38]}.")
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout as error:
        who = holder.read_text("utf-8") if holder.is_file() else "another process"
        raise InUse(f"{path} is being written by {who}: wait for it, or write elsewhere.") from error


def remove_unfinished(folder: Path, beginning: str = "") -> None:
    """Remove the files that a killed program was writing, from a folder that nobody else writes.

    Parameters
    ----------
    folder : with a beginning itself alone, else all folders in it, too
    beginning : of their names

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".ages.csv.0123.part").touch()
    >>> remove_unfinished(folder)
    >>> list(folder.iterdir())
    []
    """
    find = folder.glob if beginning else folder.rglob
    for path in find(f".{glob.escape(beginning)}*{PART}"):
        path.unlink(missing_ok=True)


def lock_of(path: Path) -> Path:
    """Return the file that `locked` locks; it stays there, and says that we have been here before.

    Examples
    --------
    >>> lock_of(Path("lfw", "index.csv")).name
    '.index.csv.lock'
    """
    return path.with_name(f".{path.name}.lock")
