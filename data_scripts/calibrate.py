"""Fit α, r (Eq. 2) and γ (Eq. 6) of one or more models on a folder of face photos, such as LFW.

    python data_scripts/calibrate.py FOLDER [--model NAME …] [--out calibration.json]

NAME is what the command line knows (default: sface and facenet), or the path of an .onnx file.

Every photo below FOLDER is measured once; the measurements go to a .csv beside the result, so that
a run that was interrupted goes on where it stopped (use another --out for another folder). Photos
that cannot be used are listed there with the reason.
"""

import argparse
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite import calibration
from plqlite.explain import write_aside
from plqlite.models import load_model
from plqlite.tables import append_rows, open_table

MEASURED = ("quality", "centre", "background")
COLUMNS = {"model": str, "image": str} | dict.fromkeys(MEASURED, float) | {"skipped": str}


def measure(model: plqlite.FaceModel, photo: Path) -> dict[str, float | str]:
    """Return Q of a photo, and the saliency of its centre and background per unit of Q̂."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            images = plqlite.load_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        return dict.fromkeys(MEASURED) | {"skipped": str(error)}
    values = zip(MEASURED, calibration.measure(model, images), strict=True)
    return {name: float(f"{value.item():.6g}") for name, value in values} | {"skipped": ""}


def fit(rows: pd.DataFrame, provenance: str = "") -> plqlite.Scaling:
    """Fit the constants of a model on the rows of its photos."""
    columns = (torch.tensor(rows[name].to_numpy(), dtype=torch.float32) for name in MEASURED)
    return calibration.fit(*columns, provenance)


def label(model: plqlite.FaceModel) -> str:
    """Name a model in the table; two files of one name are two models."""
    return f"{model.name} {model.card['sha256'][:8]}" if model.file else model.name


def measure_all(model: plqlite.FaceModel, images: dict[str, Path], table: Path) -> None:
    """Append a row for every photo that has none yet."""
    known = open_table(table, COLUMNS)
    done = set(known["image"][known["model"] == label(model)])
    for image, photo in tqdm(images.items(), desc=model.name, unit="photo"):
        if image not in done:
            row = {"model": label(model), "image": image} | measure(model, photo)
            append_rows(table, COLUMNS, [row])


def main() -> None:
    """Measure what has not been measured yet, then fit and write the constants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("calibration.json"))
    arguments = parser.parse_args()
    suffixes = {".jpg", ".jpeg", ".png", ".ppm", ".bmp"}
    photos = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in suffixes)
    if not photos:
        parser.error(f"no photos below {arguments.folder}")
    table = arguments.out.with_suffix(".csv")
    if table == arguments.out:
        parser.error(f"--out {arguments.out}: the measurements take this name, choose one that ends in .json")
    images = {photo.relative_to(arguments.folder).as_posix(): photo for photo in photos}

    result, skipped = {}, 0
    for name in arguments.model:
        model = load_model(name)
        measure_all(model, images, table)
        rows = open_table(table, COLUMNS)
        rows = rows[(rows["model"] == label(model)) & rows["image"].isin(list(images))]
        used = rows[rows["skipped"] == ""]
        skipped += len(rows) - len(used)
        photos_used = f"{len(used)} photos of {arguments.folder.name}"
        try:
            scaling = fit(used, f"calibrate.py on {photos_used}; 100 passes, seed 0, signed")
        except ValueError as error:
            parser.exit(1, f"{model.name}: {error}\n")
        calibration.save_scaling(model, scaling)
        result[label(model)] = asdict(scaling)
        print(label(model), result[label(model)])
    write_aside(arguments.out, lambda file: file.write((json.dumps(result, indent=2) + "\n").encode()))
    print(f"{skipped} of {len(images) * len(result)} measurements skipped; see {table}")


if __name__ == "__main__":
    main()
