"""A table in shards: Parquet files that are whole or not there, and the settings that they were made with."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from plqlite.files import write_aside, write_text

SECONDS = 60.0  # after which a shard is written, even if it is not full


def agree(out: Path, settings: dict) -> None:
    """Write with which settings a folder is filled, or refuse to add to it with others.

    Where the photos are, `source`, may change, since they may have been moved; not while they are still
    there.

    Raises
    ------
    ValueError
        The folder was filled with other settings, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> agree(folder, {"model": "sface"})
    >>> agree(folder, {"model": "facenet"})
    Traceback (most recent call last):
    ValueError: ... was filled with model='sface', not model='facenet': take another folder.
    """
    path = out / "settings.json"
    if not path.exists():
        write_text(path, json.dumps(settings, indent=1))
        return
    known, wanted = read_settings(out), json.loads(json.dumps(settings))
    for name in [each for each in [*known, *wanted] if each != "source"]:
        old, new = known.get(name), wanted.get(name)
        if old != new:
            found = f"{out} was filled with {name}={old!r}, not {name}={new!r}"
            raise ValueError(f"{found}: take another folder.")
    before = known.get("source")
    if before != wanted.get("source"):
        if before is not None and os.path.exists(before):
            raise ValueError(f"{out} was filled from {before}, which is still there: take another folder.")
        write_text(path, json.dumps(settings, indent=1))


def read_settings(out: Path) -> dict:
    """Return the settings of a folder.

    Raises
    ------
    ValueError
        There are none, or they are damaged.
    """
    path = out / "settings.json"
    try:
        settings = dict(json.loads(path.read_text("utf-8")))
        if "model" not in settings:
            raise ValueError("it names no model")
        return settings
    except FileNotFoundError as error:
        raise ValueError(
            f"{out} holds no settings.json: fill it with  plqlite score … --out {out}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete the folder and start again.") from error


def shards_of(out: Path) -> list[Path]:
    """Return the shards of a folder, in order; pandas and DuckDB can read DIR/scores as one table."""
    return sorted((out / "scores").glob("part-*.parquet"))


def read_rows(out: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all rows of a folder, or some of their columns.

    Raises
    ------
    ValueError
        There are no rows, or a shard is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with Shards(Path(tempfile.mkdtemp()), pa.schema({"file": pa.binary()})) as shards:
    ...     shards.add([{"file": b"1.jpg"}])
    >>> read_rows(shards.out).num_rows
    1
    """
    shards = [_read(path, columns) for path in shards_of(out)]
    if not shards:
        raise ValueError(f"{out} holds no scores: fill it with  plqlite score … --out {out}")
    return pa.concat_tables(shards)


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """Read a shard."""
    try:
        return pyarrow.parquet.read_table(path, columns=columns and list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and its files are scored again."
        ) from error


def key(file: bytes) -> int:
    """Return a number of 64 bits that stands for a file: millions of them take little memory."""
    return int.from_bytes(hashlib.blake2b(file, digest_size=8).digest(), "little")


class Done:
    """Which files a folder has rows of.

    Examples
    --------
    >>> import tempfile
    >>> b"1.jpg" in Done(Path(tempfile.mkdtemp()))
    False
    """

    def __init__(self, out: Path) -> None:
        batches = (_read(path, ["file"])["file"].to_pylist() for path in shards_of(out))
        keys = [np.fromiter((key(file) for file in set(files)), np.uint64) for files in batches]
        self.keys = np.unique(np.concatenate([np.empty(0, np.uint64), *keys]))

    def __contains__(self, file: bytes) -> bool:
        wanted = np.uint64(key(file))
        place = np.searchsorted(self.keys, wanted)
        return bool(place < len(self.keys) and self.keys[place] == wanted)

    def __len__(self) -> int:
        return len(self.keys)


class Shards:
    """Collects rows, and writes them in shards; leaving the `with` block writes the rest.

    A shard is written aside and renamed, so that what a crash leaves is whole. All rows of a file are to be
    added together: they come into one shard.

    Parameters
    ----------
    out : folder
    schema : names and types of the columns; what a row lacks is null
    full : rows of a shard
    """

    def __init__(self, out: Path, schema: pa.Schema, full: int = 1024) -> None:
        self.out, self.schema, self.full = out, schema, full
        self.rows: list[dict] = []
        self.since = time.monotonic()
        numbers = [int(path.stem.removeprefix("part-")) for path in shards_of(out)]
        self.number = max(numbers, default=-1) + 1
        (out / "scores").mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with contextlib.suppress(*([OSError] if kind else [])):  # a full disk is as full as before
            self.flush()

    def add(self, rows: Iterable[dict]) -> None:
        """Add the rows of one file or of several."""
        self.rows += rows
        if len(self.rows) >= self.full or time.monotonic() - self.since > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected as a shard."""
        if self.rows:
            table = pa.Table.from_pylist(self.rows, self.schema)
            path = self.out / "scores" / f"part-{self.number:06}.parquet"
            write_aside(path, lambda file: pyarrow.parquet.write_table(table, file))
            _to_disk(path.parent)
            self.rows, self.number = [], self.number + 1
        self.since = time.monotonic()


def _to_disk(folder: Path) -> None:
    """Have the new name of a file survive a power cut."""
    if hasattr(os, "O_DIRECTORY"):  # not on Windows
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
