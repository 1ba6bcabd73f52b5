"""Fit α, r (Eq. 2) and γ (Eq. 6) of one or more models on a folder of face photos, such as LFW.

    python data_scripts/calibrate.py FOLDER [--model NAME …] [--out calibration.json]

NAME is what the command line knows (default: sface and facenet), or the path of an .onnx file.

Every photo below FOLDER is measured once; the measurements go to a .csv beside the result, so that
a run that was interrupted goes on where it stopped (use another --out for another folder). Photos
that cannot be used are listed there with the reason.
"""

import argparse
import csv
import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

import plqlite
from plqlite import calibration
from plqlite.explain import write_aside
from plqlite.models import load_model

COLUMNS = ["model", "image", "quality", "centre", "background", "skipped"]


def measure(model: plqlite.FaceModel, photo: Path) -> dict[str, str]:
    """Return Q of a photo, and the saliency of its centre and background per unit of Q̂."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            images = plqlite.load_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        return {"skipped": str(error)}
    values = zip(("quality", "centre", "background"), calibration.measure(model, images), strict=True)
    return {name: f"{value.item():.6g}" for name, value in values}


def fit(rows: list[dict[str, str]], provenance: str = "") -> plqlite.Scaling:
    """Fit the constants of a model on the rows of its photos."""
    columns = ([float(row[name]) for row in rows] for name in ("quality", "centre", "background"))
    return calibration.fit(*(torch.tensor(column) for column in columns), provenance)


def read(table: Path) -> list[dict[str, str]]:
    """Return the complete rows of a table, none if there is no table yet."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["skipped"] is not None]


def write(table: Path, rows: list[dict[str, str]]) -> None:
    """Write a table with its header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_aside(table, lambda file: file.write(text.getvalue().encode()))


def label(model: plqlite.FaceModel) -> str:
    """Name a model in the table; two files of one name are two models."""
    return f"{model.name} {model.card['sha256'][:8]}" if model.file else model.name


def measure_all(model: plqlite.FaceModel, images: dict[str, Path], table: Path) -> None:
    """Append a row for every photo that has none yet."""
    known = {(row["model"], row["image"]) for row in read(table)}
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        for image, photo in tqdm(images.items(), desc=model.name, unit="photo"):
            if (label(model), image) not in known:
                writer.writerow({"model": label(model), "image": image} | measure(model, photo))
                file.flush()


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
    write(table, read(table))  # without a last row that an interruption cut off

    result, skipped = {}, 0
    for name in arguments.model:
        model = load_model(name)
        measure_all(model, images, table)
        rows = [row for row in read(table) if row["model"] == label(model) and row["image"] in images]
        used = [row for row in rows if not row["skipped"]]
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
