"""Files that are never half written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_aside(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, then rename it: it is never half written, and an old one survives.

    Parameters
    ----------
    path : a file that exists or not; what a link points to is replaced, not the link
    write : is given the file, open for bytes

    Raises
    ------
    OSError
        The path is a folder or a device, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "answer.txt")
    >>> write_aside(path, lambda file: file.write(b"42"))
    >>> path.read_text()
    '42'
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file: give the name of a file to write.")
    aside = path.with_name(path.name + ".part")
    aside.unlink(missing_ok=True)  # left by a failure, or a link to somewhere else
    try:
        with aside.open("xb") as file:
            write(file)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
