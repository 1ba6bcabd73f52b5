"""Command line: plqlite score FOLDER --out DIR, and plqlite report DIR."""

import argparse
import os
import warnings
from pathlib import Path

from plqlite.console import printable
from plqlite.explanation import ON_CPU
from plqlite.networks.zoo import BUILDERS, load_model
from plqlite.scale.memory import keep_freed_memory
from plqlite.scale.report import report
from plqlite.scale.runner import score
from plqlite.scale.shards import read_settings


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; bad arguments end the program with exit status 2."""
    parser = argparse.ArgumentParser(
        prog="plqlite score", description="Score all face photos of a folder or an index, and resume."
    )
    add = parser.add_argument
    add("source", metavar="FOLDER_OR_INDEX", help="folder, or .csv or .parquet with a column path")
    add("--out", type=Path, metavar="DIR", required=True, help="folder for the scores, in Parquet shards")
    add("--model", metavar="NAME", default="sface", help=f"{', '.join(BUILDERS)}, or a path (.onnx)")
    add("--every-face", action="store_true", help="score each face of a photo, not only the largest")
    add("--smallest", type=float, default=0, metavar="PIXELS", help="width of the smallest face that counts")
    add("--aligned", action="store_true", help="the images are crops of the model's size already")
    add("--maps", action="store_true", help="keep pattern and P of each face, as bytes")
    add(
        "--workers",
        type=int,
        default=workers(),
        metavar="N",
        help="processes that read and align (default: one per core)",
    )
    add("--batch", type=int, metavar="N", help="images at a time (default: 32, on a GPU 64)")
    add("--engine", choices=["processes", "ray"], default="processes", help="(default: processes)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster (default: this machine)")
    add("--gpus", type=float, default=0, metavar="N", help="GPUs for each of Ray's workers (default: 0)")
    add("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="(default: the best)")
    options = parser.parse_args(arguments)
    if options.workers < 0 or (options.batch is not None and options.batch < 1):
        parser.error("--workers cannot be below 0, nor --batch below 1")
    if options.engine != "ray" and (options.address or options.gpus):
        parser.error("--address and --gpus belong to --engine ray")
    return options


def workers() -> int:
    """Return how many processes read and align by default: as many as there are cores."""
    return os.cpu_count() or 1


def main_of_score(arguments: list[str]) -> int:
    """Score a data set; return 0, since files with errors have rows that say so."""
    options = parse(arguments)
    keep_freed_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of single images: the rows say what matters
        model = load_model(options.model, device=options.device)
        on_cpu = not options.gpus if options.engine == "ray" else model.device.type == "cpu"
        counts = score(
            options.source,
            options.out,
            model,
            every=options.every_face,
            smallest=options.smallest,
            aligned=options.aligned,
            maps=options.maps,
            workers=options.workers,
            batch=options.batch or (2 * ON_CPU if on_cpu else None),  # twice, since memory is kept
            engine=options.engine,
            address=options.address,
            gpus=options.gpus,
        )
    print(
        f"{printable(options.out)}: {counts.files} files scored now ({counts.faces} faces, {counts.errors} "
        f"errors), {counts.before} before"
    )
    return 0


def main_of_report(arguments: list[str]) -> int:
    """Write a page about a scored data set."""
    parser = argparse.ArgumentParser(
        prog="plqlite report", description="Show in one HTML page what a scored data set is like."
    )
    parser.add_argument("out", metavar="DIR", type=Path, help="folder that plqlite score has filled")
    parser.add_argument("--page", metavar="FILE", type=Path, help="(default: DIR/report.html)")
    parser.add_argument(
        "--model", metavar="NAME", help="path of the .onnx file that scored it, if it was one"
    )
    options = parser.parse_args(arguments)
    model = load_model(options.model or read_settings(options.out)["model"])
    print(f"wrote {printable(report(options.out, model, options.page))}")
    return 0


COMMANDS = {"score": main_of_score, "report": main_of_report}
