"""Command line: python -m plqlite [IMAGE…]. Explains the sample portrait if no image is given."""

import argparse
import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import plqlite
from plqlite.models import BUILDERS, load_model
from plqlite.show import grid, labels_of, save_figure


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; bad arguments end the program with exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m plqlite",
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
    passes = parser.add_mutually_exclusive_group()
    passes.add_argument(
        "--passes", type=int, default=100, metavar="N", help="dropout passes, at least 2 (default: 100)"
    )
    passes.add_argument("--closed-form", action="store_true", help="the limit of infinitely many passes")
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
    parser.add_argument("--advise", action="store_true", help="say what is unusual, and what it may mean")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of text")
    options = parser.parse_args(arguments)
    if options.model and options.model not in BUILDERS and not options.model.lower().endswith(".onnx"):
        parser.error(f"--model {options.model}: choose from {', '.join(BUILDERS)}, or name an .onnx file")
    if not 0 <= options.seed < 2**63:
        parser.error(f"--seed {options.seed}: choose from 0 to 2**63 - 1")
    method = options.passes, options.seed, options.reading, options.closed_form
    if options.advise and method != (100, 0, "signed", False):
        parser.error("--advise compares with photos measured with 100 passes, seed 0, signed: keep these")
    if options.passes < 2:
        parser.error(f"--passes {options.passes}: at least 2 are needed")
    if options.closed_form:
        options.passes = None
    if options.out is None and not options.json:
        options.out = Path("plq.png")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        parser.error(f"--out {options.out}: its folder does not exist")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Explain each image with each model; return 1 if something failed, else 0."""
    options = parse(arguments)
    photos = [(image, image) for image in options.images] or [
        ("astronaut", plqlite.sample_faces()["astronaut"])
    ]
    rows, labels, failed = [], [], False
    for name in [options.model] if options.model else ["sface", "facenet"]:
        try:
            with noted(name):
                model = load_model(name, options.device)
        except (OSError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        if options.advise and model.usual is None:
            print(f"{name}: no advice without what is usual: run data_scripts/calibrate.py", file=sys.stderr)
            failed = True
        for image, photo in photos:
            try:
                with noted(image):
                    images = plqlite.load_face(photo, model)
                    explanation = plqlite.explain(
                        model, images, options.passes, options.seed, options.reading
                    )
                    advice = plqlite.advise(model, images) if options.advise and model.usual else None
            except (OSError, ValueError) as error:
                print(f"{image}: {error}", file=sys.stderr)
                failed = True
                continue
            result = report(options, image, model.name, explanation)
            if advice is not None:
                result |= {"advice": advice.text, "regions": advice.regions, "percentile": advice.percentile}
            print(json.dumps(result) if options.json else describe(result), flush=True)
            rows.append((images[0], explanation.plq[0]))
            labels.append(f"{model.name}: {labels_of(explanation)[0]}")
    return int(failed | (bool(rows and options.out) and not draw(rows, labels, options)))


@contextlib.contextmanager
def noted(about: str) -> Iterator[None]:
    """Print warnings as one line each that says what they are about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for warning in caught:
                print(f"{about}: {warning.message}", file=sys.stderr)


def report(options: argparse.Namespace, image: str, model: str, explanation: plqlite.Explanation) -> dict:
    """Return the numbers of one image and one model; None for those that a model's scaling would give."""
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
    text = f"{result['image']}  {result['model']:<8} quality Q = {result['quality']:.3f}"
    if result["scaled_quality"] is None:
        return f"{text}   (not calibrated: no Q̂, and the level of the map means nothing)"
    text += f"   scaled Q̂ = {result['scaled_quality']:.2f}   mean of the map P = {result['plq_mean']:.2f}"
    return "\n    ".join([text, *result.get("advice", "").splitlines()])


def draw(rows: list, labels: list[str], options: argparse.Namespace) -> bool:
    """Write the picture and say what to do next; return whether it could be written."""
    try:
        save_figure(grid(rows, labels), options.out)
    except OSError as error:
        print(f"{options.out} cannot be written: {error}", file=sys.stderr)
        return False
    if not options.json:
        print(f"wrote {options.out}: green pixels are useful for recognition, red ones are not")
    if not options.json and not options.images:
        print(
            "next: .venv/bin/jupyter lab notebooks/00_quickstart.ipynb   or: python -m plqlite YOUR_PHOTO.jpg"
        )
    return True


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a console without Q̂ shows ? and goes on
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader has gone, as in `… | head`: end without a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
