"""Score a data set: worker processes read and align, the device explains batches, shards keep the rows."""

import hashlib
import itertools
import json
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from plqlite.calibration import ReferenceStatistics, Scaling, to_json
from plqlite.explanation import at_a_time
from plqlite.locks import locked, remove_unfinished
from plqlite.networks.model import FaceModel
from plqlite.scale.crops import Options, Prepared, prepare
from plqlite.scale.inputs import Item, as_text, find_items
from plqlite.scale.scorer import Scorer, schema
from plqlite.scale.shards import Done, Shards, agree

PLAIN = 30.0  # seconds between two lines of progress where there is no terminal


class Counts(NamedTuple):
    """What a run has done."""

    files: int  # scored now, those with errors too
    faces: int
    errors: int
    before: int  # files that an earlier run had scored


def score(
    source: str | Path,
    out: str | Path,
    model: FaceModel,
    every: bool = False,
    smallest: float = 0,
    aligned: bool = False,
    maps: bool = False,
    workers: int = 1,
    batch: int | None = None,
    shard: int = 1024,
    engine: str = "processes",
    address: str | None = None,
    gpus: float = 0,
    quiet: bool = False,
) -> Counts:
    """Score all images of a folder or an index, into Parquet shards; resume where an earlier run stopped.

    Each file has a row for each of its faces, or one with an error, and no file has them twice, whenever a
    run is killed. Memory does not grow with the number of files.

    Parameters
    ----------
    source : folder, or index (.csv or .parquet); see `plqlite.scale.inputs.find_items`
    out : folder for scores/part-000000.parquet and so on, and settings.json
    model : decides on size and alignment
    every : score each face of a photo, not only the largest
    smallest : width in pixels of the smallest face that counts
    aligned : files are crops of the model's size
    maps : keep pattern and P, as bytes
    workers : processes that read, detect and align, with a thread each (a script then has to call this inside
        `if __name__ == "__main__":`); with 0 this process does it itself, with all threads, so that boxes
        differ by rounding, and Q by about 1e-5; on Ray, actors that explain
    batch : files at a time, and images that `explain` takes at a time; None for 16, or 64 on a GPU
    shard : rows after which a shard is written; after a minute it is written anyway
    engine : "processes" of this machine, or "ray"
    address, gpus : of the Ray cluster, and for each of its actors; see `plqlite.scale.on_ray.row_batches`
    quiet : do not say how far it is

    Returns
    -------
    Counts

    Raises
    ------
    InUse
        Another run is writing there.
    ValueError
        The folder was filled with other settings, or from another source that is still there, or is the
        source itself; another engine, or Ray without an actor or not installed.
    OSError
        Source or folder cannot be read or written; a worker process has died.

    Examples
    --------
    >>> import plqlite, tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.fromarray(plqlite.sample_faces()["astronaut"]).save(folder / "astronaut.png")
    >>> score(folder, folder / "scores", plqlite.sface(), workers=0)
    Counts(files=1, faces=1, errors=0, before=0)
    """
    if engine not in ("processes", "ray") or (engine == "ray" and workers < 1):
        raise ValueError(f"engine={engine!r}, workers={workers}: choose processes, or ray with 1 or more.")
    if engine == "ray" and find_spec("ray") is None:
        raise ValueError('engine="ray" needs Ray: run  pip install -e ".[scale]"')
    device = model.device if engine == "processes" else torch.device("cuda" if gpus else "cpu")
    out, batch = Path(out), batch or at_a_time(device)
    options = Options(model.align, model.size, every, smallest, aligned)
    total = sum(1 for _ in find_items(source, out))  # also: is the source there?
    with locked(out / "scores"):
        remove_unfinished(out / "scores")
        remove_unfinished(out, "settings.json.")
        agree(out, settings_of(model, options, maps) | {"source": place_of(source)})
        done = Done(out)
        items = (item for item in find_items(source, out) if item.file not in done)
        if engine == "ray":
            from plqlite.scale.on_ray import row_batches  # takes seconds

            batches = row_batches(items, options, model, maps, batch, workers, gpus, address)
        else:
            batches = map(Scorer(model, maps, batch), prepared_batches(items, options, workers, batch))
        files = faces = errors = 0
        with Shards(out, schema(maps), shard) as shards:
            for rows in batches if quiet else progress(batches, total, len(done)):
                shards.add(rows)
                files += files_in(rows)
                errors += sum("error" in row for row in rows)
                faces += sum("quality" in row for row in rows)
    return Counts(files, faces, errors, len(done))


def files_in(rows: list[dict]) -> int:
    """Return how many files some rows are of.

    Examples
    --------
    >>> files_in([{"file": b"1.jpg"}, {"file": b"1.jpg"}, {"file": b"2.jpg"}])
    2
    """
    return len({row["file"] for row in rows})


def settings_of(model: FaceModel, options: Options, maps: bool) -> dict:
    """Return what the rows of a folder depend on."""
    scaling = model.scaling and asdict(model.scaling)
    chosen = {"every": options.every, "smallest": float(options.smallest), "aligned": options.aligned}
    compared = {"reference_statistics": _hash(model.reference_statistics)}
    return {"model": model.name, **model.identity, "scaling": scaling, **compared, **chosen, "maps": maps}


def _hash(reference: ReferenceStatistics | None) -> str | None:
    """Return what tells reference statistics from others."""
    if reference is None:
        return None
    entry = to_json(Scaling(1, 0, 0), reference)["reference_statistics"]
    return hashlib.sha256(json.dumps(entry).encode()).hexdigest()[:16]


def place_of(source: str | Path) -> str:
    """Return the folder that the names of items are relative to."""
    source = Path(source).resolve()
    return as_text(str(source if source.is_dir() else source.parent))


class _Photos(Dataset):
    """What torch's worker processes ask for items."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def __getitem__(self, item: Item) -> Prepared:
        return prepare(item, self.options)


def prepared_batches(
    items: Iterable[Item], options: Options, workers: int, batch: int
) -> Iterator[list[Prepared]]:
    """Read and align files in worker processes, a few batches ahead; yield them in order.

    Raises
    ------
    OSError
        A worker process has died.
    """
    items = iter(items)
    batches = iter(lambda: list(itertools.islice(items, batch)), [])  # until there are none
    loader = DataLoader(
        _Photos(options),
        batch_sampler=batches,  # any iterable will do
        collate_fn=list,
        num_workers=workers,
        worker_init_fn=_begin,
        multiprocessing_context=_context() if workers else None,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):  # torch says so of nothing else
            raise
        message = (
            "what was scored stays: run it again, with fewer workers if memory is short; a script must "
            'call score inside  if __name__ == "__main__":'
        )
        raise OSError(f"A worker process has died ({error}); {message}") from error


def _context() -> BaseContext:
    """Return how workers start: forked from a process that has imported all of it, once for all workers.

    Not from ours, which has threads: such a fork may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "facenet_pytorch"])
    return context


def _begin(_: int) -> None:
    """Let no warning of a worker get into the progress (what matters is in the rows); have it end with us."""
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the process that began this one is gone, even by kill -9, and follow it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def progress(batches: Iterable[list], total: int, done: int) -> Iterator[list]:
    """Yield batches of rows, and say how far they are: a bar on a terminal, else a line now and then."""
    terminal = sys.stderr.isatty()
    start = said = time.monotonic()
    with tqdm(total=total, initial=done, unit="file", disable=not terminal) as bar:
        first = done
        for batch in batches:
            yield batch
            done += files_in(batch)
            bar.update(done - bar.n)
            now = time.monotonic()
            if not terminal and now - said > PLAIN:
                rate, said = (done - first) / (now - start), now
                minutes = (total - done) / rate / 60
                print(
                    f"{done} of {total} files, {rate:.1f} a second, {minutes:.0f} min left", file=sys.stderr
                )
