"""Fit α, r (Eq. 2) and γ (Eq. 6) of one or more models on a folder of face photos, such as LFW.

    python data_scripts/calibrate.py FOLDER [--model NAME …] [--out calibration.json]

NAME is what the command line knows (default: sface and facenet), or the path of an .onnx file.

Every photo below FOLDER is measured once; the measurements go to two .csv beside the result, so that
a run that was interrupted goes on where it stopped (use another --out for another folder). Photos
that cannot be used are listed there with the reason. The result also says what is usual: how log Ŝ is
spread over a face that nothing covers, on a grid of 28×28 and in eight regions, and the percentiles of Q.
A picture beside it shows Q before and after Eq. 2 for each model, as Fig. 11 does for Adience (get that
with prepare_adience.py, and give the folder of its faces here).
"""

import argparse
import base64
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite import calibration
from plqlite.explain import write_aside
from plqlite.faces import REGIONS
from plqlite.models import label, load_model
from plqlite.tables import append_rows, open_table

MEASURED = ("quality", "centre", "background", *REGIONS)
COLUMNS = {"model": str, "image": str} | dict.fromkeys(MEASURED, float) | {"skipped": str}
LEVELS = {"model": str, "image": str, "level": str}  # 28×28 numbers of 16 bits, in base 64


def measure(model: plqlite.FaceModel, photo: Path) -> tuple[dict[str, float | str], str]:
    """Return what `plqlite.calibration.measure` finds in a photo, as a row and a text for the level."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            images = plqlite.load_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        return dict.fromkeys(MEASURED) | {"skipped": str(error)}, ""
    *values, level, regions = calibration.measure(model, images)
    numbers = [value.item() for value in values] + regions[0].tolist()
    row = {name: float(f"{number:.6g}") for name, number in zip(MEASURED, numbers, strict=True)}
    return row | {"skipped": ""}, base64.b64encode(level[0].cpu().numpy().astype("<f2").tobytes()).decode()


def measured_of(rows: pd.DataFrame, levels: pd.DataFrame) -> calibration.Measured:
    """Read from the tables what was measured of the photos of some rows."""
    texts = levels.drop_duplicates(["model", "image"], keep="last").merge(rows[["model", "image"]])["level"]
    maps = np.stack([np.frombuffer(base64.b64decode(text), "<f2").reshape(28, 28) for text in texts])
    *columns, level, regions = (
        torch.tensor(np.asarray(each, dtype=np.float32))
        for each in (*(rows[name] for name in MEASURED[:3]), maps, rows[list(REGIONS)])
    )
    return calibration.Measured(*columns, level, regions)


def measure_all(model: plqlite.FaceModel, images: dict[str, Path], table: Path, levels: Path) -> None:
    """Append a row for every photo that has none yet."""
    known, mapped = open_table(table, COLUMNS), open_table(levels, LEVELS)
    known, mapped = (each[each["model"] == label(model)] for each in (known, mapped))
    done = set(known["image"][(known["skipped"] != "") | known["image"].isin(mapped["image"])])
    for image, photo in tqdm(images.items(), desc=model.name, unit="photo"):
        if image not in done:
            row, level = measure(model, photo)
            key = {"model": label(model), "image": image}
            if level:
                append_rows(levels, LEVELS, [key | {"level": level}])
            append_rows(table, COLUMNS, [key | row])  # last: a row stands for a complete measurement


def draw(rows: pd.DataFrame, result: dict[str, dict], path: Path) -> None:
    """Draw how Q is distributed before and after Eq. 2, two panels for each model (Fig. 11)."""
    figure, axes = plt.subplots(
        len(result), 2, squeeze=False, figsize=(8, 2.6 * len(result)), layout="constrained"
    )
    for (raw, scaled), (name, fitted) in zip(axes, result.items(), strict=True):
        quality = torch.tensor(rows["quality"][rows["model"] == name].dropna().to_numpy())
        raw.hist(quality, bins=40, range=(0, 1))
        raw.set(title=f"{name}, n = {len(quality)}", xlabel="Q")
        scaled.hist(plqlite.scale_quality(quality, fitted["alpha"], fitted["r"]), bins=40, range=(0, 1))
        scaled.set(title=f"α = {fitted['alpha']}, r = {fitted['r']}", xlabel="Q̂")
    write_aside(path, lambda file: figure.savefig(file, format="png", dpi=120))


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
    table, levels = arguments.out.with_suffix(".csv"), arguments.out.with_suffix(".levels.csv")
    if table == arguments.out:
        parser.error(f"--out {arguments.out}: the measurements take this name, choose one that ends in .json")
    images = {photo.relative_to(arguments.folder).as_posix(): photo for photo in photos}

    result, skipped, measured = {}, 0, []
    for name in arguments.model:
        model = load_model(name)
        measure_all(model, images, table, levels)
        rows = open_table(table, COLUMNS)
        rows = rows[(rows["model"] == label(model)) & rows["image"].isin(list(images))]
        rows = rows.drop_duplicates("image", keep="last")
        used = rows[rows["skipped"] == ""]
        skipped += len(rows) - len(used)
        measured.append(used)
        photos_used = f"{len(used)} photos of {arguments.folder.name}"
        if len(used) < 2:
            parser.exit(1, f"{label(model)}: {len(used)} of {len(rows)} photos can be used: see {table}\n")
        try:
            found = measured_of(used, open_table(levels, LEVELS))
            provenance = f"calibrate.py on {photos_used}; 100 passes, seed 0, signed"
            scaling, usual = calibration.fit(*found[:3], provenance), calibration.usual_faces(found)
        except ValueError as error:
            parser.exit(1, f"{model.name}: {error}\n")
        calibration.save_scaling(model, scaling, usual)
        result[label(model)] = calibration.calibration_entry(scaling, usual)
        print(label(model), asdict(scaling))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in result.items())
    write_aside(arguments.out, lambda file: file.write(f"{{\n{lines}\n}}\n".encode()))
    draw(pd.concat(measured), result, arguments.out.with_suffix(".png"))
    print(f"{skipped} of {len(images) * len(result)} measurements skipped; see {table}")


if __name__ == "__main__":
    main()
