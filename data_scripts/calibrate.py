"""Fit α, r (Eq. 2) and γ (Eq. 6) of the embedded models on a folder of face photos, such as LFW.

    python data_scripts/calibrate.py FOLDER [--out calibration.json]

Every photo below FOLDER is measured once; the measurements go to a .csv beside the result, so that
a run that was interrupted goes on where it stopped (use another --out for another folder). Photos
that cannot be used are listed there with the reason.
"""

import argparse
import csv
import io
import json
import warnings
from pathlib import Path

import torch
from tqdm import tqdm

import plqlite
from plqlite.explain import write_aside
from plqlite.quality import fit_scaling, scale_quality
from plqlite.saliency import centre_and_background, fit_gamma

COLUMNS = ["model", "image", "quality", "centre", "background", "skipped"]


def measure(model: plqlite.FaceModel, photo: Path) -> dict[str, str]:
    """Return Q of a photo, and the saliency of its centre and background per unit of Q̂."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            images = plqlite.load_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        return {"skipped": str(error)}
    explanation = plqlite.explain(model, images)
    per_quality = explanation.saliency / explanation.scaled_quality  # Ŝ is proportional to Q̂
    centre, background = centre_and_background(per_quality)
    values = {"quality": explanation.quality, "centre": centre, "background": background}
    return {name: f"{value.item():.6g}" for name, value in values.items()}


def fit(rows: list[dict[str, str]]) -> dict[str, float]:
    """Fit α and r on all photos, and γ on the better half, which stands in for ICAO-compliant faces."""
    quality, centre, background = (
        torch.tensor([float(row[name]) for row in rows]) for name in ("quality", "centre", "background")
    )
    alpha, r = fit_scaling(quality)
    scaled = scale_quality(quality, alpha, r)
    good = quality >= quality.median()
    gamma = fit_gamma((centre * scaled)[good], (background * scaled)[good])
    return {"alpha": round(alpha, 1), "r": round(r, 4), "gamma": round(gamma, 2)}


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


def main() -> None:
    """Measure what has not been measured yet, then fit and write the constants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
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
    rows = read(table)
    write(table, rows)  # without a last row that an interruption cut off
    known = {(row["model"], row["image"]) for row in rows}
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        for model in (plqlite.sface(), plqlite.facenet()):
            model.scaling = plqlite.Scaling(alpha=1.0, r=0.0, gamma=0.0)  # cancels out in `measure`
            for image, photo in tqdm(images.items(), desc=model.name, unit="photo"):
                if (model.name, image) not in known:
                    writer.writerow({"model": model.name, "image": image} | measure(model, photo))
                    file.flush()

    rows = [row for row in read(table) if row["image"] in images]
    result = {}
    for name in ("sface", "facenet"):
        used = [row for row in rows if row["model"] == name and not row["skipped"]]
        photos_used = f"{len(used)} photos of {arguments.folder.name}"
        provenance = f"calibrate.py on {photos_used}; 100 passes, seed 0, signed"
        result[name] = fit(used) | {"provenance": provenance}
        print(name, result[name])
    write_aside(arguments.out, lambda file: file.write((json.dumps(result, indent=2) + "\n").encode()))
    print(f"{sum(bool(row['skipped']) for row in rows)} of {len(rows)} measurements skipped; see {table}")


if __name__ == "__main__":
    main()
