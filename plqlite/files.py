"""Files that are never half written."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PART = ".part"  # ends the name of a file that is being written


def write_aside(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, then rename it: it is never half written, and an old one survives.

    Each call takes a name of its own in the same folder, so that two programs may write one file: the later
    one wins. It is on the disk before it is renamed. A program that is killed may leave its .part behind.

    Parameters
    ----------
    path : a file that exists or not; what a link points to is replaced, not the link
    write : is given the file, open for bytes

    Raises
    ------
    OSError
        The path is a folder, a device, a circle of links or where this program prints, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "answer.txt")
    >>> write_aside(path, lambda file: file.write(b"42"))
    >>> path.read_text()
    '42'
    """
    path = _checked(Path(path))
    aside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}{PART}")  # a name has 255 bytes at most
    try:
        with aside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, in UTF-8, as `write_aside` writes.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "answer.txt")
    >>> write_text(path, "Q̂")
    >>> path.read_text("utf-8")
    'Q̂'
    """
    write_aside(path, lambda file: file.write(text.encode()))


def _checked(path: Path) -> Path:
    """Follow links to the file that is to be written, and refuse what is no file."""
    resolved = Path(os.path.realpath(path))
    if resolved.is_symlink():
        raise OSError(f"{path} is a circle of links: give the name of a file to write.")
    if resolved.exists() and not resolved.is_file():
        raise OSError(f"{path} is not a regular file: give the name of a file to write.")
    if resolved.exists() and any(_is_open_as(resolved, descriptor) for descriptor in (1, 2)):
        raise OSError(f"{path} is the file that this program prints into: give another name.")
    return resolved


def _is_open_as(path: Path, descriptor: int) -> bool:
    """Tell whether standard output (1) or standard error (2) goes into a file."""
    with contextlib.suppress(OSError):  # closed
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "empty")
    >>> path.touch()
    >>> sha256(path)[:8]
    'e3b0c442'
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_file(path: Path) -> None:
    """Refuse what cannot be read from beginning to end: opening a pipe or a device might never return.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        There is nothing at the path, a folder, or something else that is no file.

    Examples
    --------
    >>> require_file(Path("/dev/null"))
    Traceback (most recent call last):
    OSError: /dev/null is a pipe or a device: give the path of a file.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the path of one file.")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path.")
    if not path.is_file():
        raise OSError(f"{path} is a pipe or a device: give the path of a file.")
