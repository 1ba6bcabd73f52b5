"""Command line: plqlite [IMAGE…]. Explains the sample portrait if no image is given."""

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

import plqlite
from plqlite.console import printable
from plqlite.faces import Photo
from plqlite.figures import grid, save_figure
from plqlite.networks.zoo import BUILDERS, load_model

PAGE = 20  # faces in one picture


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; bad arguments end the program with exit status 2."""
    parser = argparse.ArgumentParser(
        prog="plqlite",
        description="Explain for every pixel of a face photo how useful it is for recognition.",
    )
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*", help="face photos; without any, the sample portrait"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"{', '.join(BUILDERS)}, or the path of an .onnx file (default: sface and facenet)",
    )
    parser.add_argument(
        "--passes",
        type=int,
        metavar="N",
        help="draw N dropout masks, at least 2 (default: the closed form, which draws none)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="chooses the dropout masks (default: 0)"
    )
    parser.add_argument(
        "--reading",
        choices=["signed", "literal", "summed"],
        default="signed",
        help="of Eq. 3 (default: signed, which γ was fitted for)",
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda", "mps"],
        default="auto",
        help="(default: the best there is)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="PNG to write (default: plq.png; none with --json)"
    )
    parser.add_argument(
        "--style", choices=("split", "paper"), default="split", help="of the picture (default: split)"
    )
    parser.add_argument("--advise", action="store_true", help="say what is unusual, and what it may mean")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of text")
    options = parser.parse_intermixed_args(arguments)
    check(options, parser)
    if options.out is None and not options.json:
        options.out = Path("plq.png")
    return options


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that cannot be right, before any work is done."""
    name = options.model
    if name is not None and name not in BUILDERS and not name.lower().endswith(".onnx"):
        parser.error(f"--model {name!r}: choose from {', '.join(BUILDERS)}, or name an .onnx file")
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed {options.seed}: choose from 0 to 2**32 - 1")
    if options.advise and options.reading != "signed":
        parser.error("--advise compares with photos that were measured with --reading signed: keep it")
    if options.passes is not None and options.passes < 2:
        parser.error(f"--passes {options.passes}: at least 2 are needed")
    if options.out is not None and not options.out.name:
        parser.error("--out: give the name of a file")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        parser.error(f"--out {options.out}: its folder does not exist")


class Result(NamedTuple):
    """One image, explained by one model."""

    report: dict  # the numbers, see `report`
    image: torch.Tensor  # (3, size, size)
    explanation: plqlite.Explanation
    name: str


def main(arguments: list[str] | None = None) -> int:
    """Explain each image with each model; return 1 if something failed, else 0."""
    options = parse(arguments)
    photos = [(image, image) for image in options.images] or [
        ("astronaut", plqlite.sample_faces()["astronaut"])
    ]
    results, failed = [], False
    for name in ["sface", "facenet"] if options.model is None else [options.model]:
        model = None
        with messages(name):
            model = load_model(name, device=options.device)
            if options.advise and model.reference_statistics is None:
                failed = True
                warnings.warn(
                    "no advice without reference statistics: run data_scripts/calibrate.py", stacklevel=1
                )
        if model is None:
            failed = True
            continue
        for image, photo in photos:
            result = None
            with messages(image):
                result = explain(options, model, image, photo)
            if result is None:
                failed = True
                continue
            print(json.dumps(result.report) if options.json else describe(result.report), flush=True)
            results.append(result)
    if results and options.out:
        failed |= not draw(results, options)
    return int(failed)


@contextlib.contextmanager
def messages(about: str) -> Iterator[None]:
    """Print warnings and the error of some work as one line each that says what it is about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        error = None
        try:
            yield
        except (OSError, ValueError) as raised:
            error = raised
    for message in [*(warning.message for warning in caught), error]:
        if message is not None:
            print(f"{printable(about)}: {printable(message)}", file=sys.stderr)


def explain(options: argparse.Namespace, model: plqlite.FaceModel, image: str, photo: Photo) -> Result:
    """Explain one image with one model."""
    images = plqlite.load_face(photo, model)
    explanation = plqlite.explain(model, images, options.passes, options.seed, options.reading)
    result = report(options, image, model.name, explanation)
    if options.advise and model.reference_statistics:
        advice = plqlite.advise(model, explanation)
        result |= {"advice": advice.text, "regions": advice.z, "percentile": advice.percentile}
    return Result(result, images[0], explanation, model.name)


def report(options: argparse.Namespace, image: str, model: str, explanation: plqlite.Explanation) -> dict:
    """Return the numbers of one image and one model; None for those that need a calibration."""
    scaled_quality, plq_mean = explanation.scaled_quality.item(), explanation.plq.mean().item()
    return {
        "image": image,
        "model": model,
        "quality": explanation.quality.item(),
        "scaled_quality": scaled_quality if explanation.calibrated else None,
        "plq_mean": plq_mean if explanation.calibrated else None,
        "reading": options.reading,
        "passes": options.passes,
        "seed": options.seed,
    }


def describe(result: dict) -> str:
    """Put the numbers of one image and one model into a line of text."""
    text = f"{printable(result['image'])}  {result['model']:<8} quality Q = {result['quality']:.3f}"
    if result["scaled_quality"] is None:
        return f"{text}   (not calibrated: no Q̂, and the level of the map means nothing)"
    text += f"   scaled Q̂ = {result['scaled_quality']:.2f}   mean of the map P = {result['plq_mean']:.2f}"
    return "\n    ".join([text, *result.get("advice", "").splitlines()])


def draw(results: list[Result], options: argparse.Namespace) -> bool:
    """Write the picture, in pages of 20 faces, and say what to do next; return whether that succeeded."""
    pages = [results[start : start + PAGE] for start in range(0, len(results), PAGE)]
    for number, page in enumerate(pages, start=1):
        path = options.out if number == 1 else options.out.with_stem(f"{options.out.stem}-{number}")
        rows = [(each.image, each.explanation) for each in page]
        try:
            save_figure(grid(rows, [each.name for each in page], options.style), path)
        except OSError as error:
            print(f"{printable(path)} cannot be written: {printable(error)}", file=sys.stderr)
            return False
        if not options.json:
            print(f"wrote {printable(path)}: yellow pixels are useful for recognition, blue ones are not")
    if not options.json and not options.images:
        print(
            "next: .venv/bin/jupyter lab notebooks/00_quickstart.ipynb   or: .venv/bin/plqlite YOUR_PHOTO.jpg"
        )
    return True
