"""The same on Ray: actors hold the model and explain, Ray moves and limits the data.

If actors have GPUs, tasks on the cores read and align for them; else the actors do that as well.
"""

import copy
import itertools
import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from functools import partial

import ray

from plqlite.networks.model import FaceModel
from plqlite.scale.crops import Options, prepare
from plqlite.scale.inputs import Item
from plqlite.scale.memory import keep_freed_memory
from plqlite.scale.scorer import Scorer

AT_ONCE = 100_000  # files that Ray is given at a time: millions would take memory; actors then start again


class RayScorer:
    """A `Scorer` as Ray Data wants it: made once in each actor, called with batches of columns.

    Parameters
    ----------
    kept : refers to a model on the CPU; it moves to the GPU that Ray gives the actor, if any
    maps, batch : see `Scorer`
    """

    def __init__(self, kept: "ray.ObjectRef", maps: bool, batch: int) -> None:
        keep_freed_memory()
        model = copy.deepcopy(ray.get(kept))
        self.scorer = Scorer(model.to("cuda") if ray.get_gpu_ids() else model, maps, batch)

    def __call__(self, batch: dict) -> dict:
        """Turn prepared files into rows; both are pickled, since no two have as many faces."""
        rows = self.scorer([pickle.loads(each) for each in batch["prepared"]])
        return {"rows": [pickle.dumps(rows)]}


def row_batches(
    items: Iterable[Item],
    options: Options,
    model: FaceModel,
    maps: bool = False,
    batch: int = 16,
    actors: int = 1,
    gpus: float = 0,
    address: str | None = None,
) -> Iterator[list[dict]]:
    """Score items on a Ray cluster; yield the rows of one batch after the other, in whatever order they come.

    A task or an actor that dies is started again by Ray, and what it had is done again.

    Parameters
    ----------
    items : see `plqlite.scale.inputs.find_items`; every machine must be able to read their paths
    options, model, maps, batch : see `plqlite.scale.runner.score`
    actors : how many hold the model
    gpus : for each actor; 0 to explain on CPUs
    address : of the cluster; None for this machine, or for one that is running here
    """
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    kept = ray.put(copy.deepcopy(model).to("cpu"))  # held here, so that an actor can start again
    files = ({"path": os.fsencode(each.path), "name": each.file, "identity": each.identity} for each in items)
    while some := list(itertools.islice(files, AT_ONCE)):
        scored = (
            ray.data.from_items(some)
            .map(partial(_prepared, options=options))
            .map_batches(
                RayScorer,
                batch_size=batch,
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_gpus=gpus or None,
                fn_constructor_kwargs={"kept": kept, "maps": maps, "batch": batch},
            )
        )
        for row in scored.iter_rows():
            yield pickle.loads(row["rows"])


def _prepared(file: dict, options: Options) -> dict:
    """Read and align one file."""
    item = Item(os.fsdecode(file["path"]), os.fsdecode(file["name"]), file["identity"])
    return {"prepared": pickle.dumps(prepare(item, options))}
