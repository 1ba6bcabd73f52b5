"""Fit α, r (Eq. 2), γ (Eq. 6) and reference statistics of one or more models on a folder of face photos.

    python data_scripts/calibrate.py FOLDER --out calibration.json [--model NAME …]

NAME is one that the command line of plqlite knows (default: sface and facenet), or the path of an .onnx file.
FOLDER is LFW, for example.

Every photo below FOLDER is measured once. The measurements are written to two .csv files beside the result,
so a run that was interrupted resumes where it stopped (use another --out for another folder). Photos that
cannot be used are listed there with the reason. The reference statistics say how clean faces look to a model:
mean and standard deviation of log Ŝ over an aligned face, on a grid of 28×28 and in eight regions, and the
percentiles of Q. A picture beside the result shows Q before and after Eq. 2 for each model, as Fig. 11 does
for Adience (to get that, give prepare_adience.py your copy, and this program its folder of faces).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite import calibration, development
from plqlite.experiments.dataset import find_photos
from plqlite.experiments.scripts import ScriptParser, load_largest_face
from plqlite.experiments.tables import append_rows, open_table
from plqlite.faces import REGIONS
from plqlite.files import write_aside

NUMBERS = ("quality", "centre", "background", *REGIONS)
COLUMNS: dict[str, type] = {
    **{"model": str, "image": str},
    **dict.fromkeys(NUMBERS, float),
    **{"skipped": str},
}
LEVELS = {"model": str, "image": str, "level": str}  # 28×28 numbers of 16 bits, in base 64


def measure_photo(model: plqlite.FaceModel, photo: Path) -> tuple[dict[str, float | str | None], str]:
    """Return what `plqlite.development.measure` finds in a photo, as a row and a text for the level."""
    try:
        images = load_largest_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        return dict.fromkeys(NUMBERS) | {"skipped": str(error)}, ""
    *values, level, regions = development.measure(model, images)
    numbers = [value.item() for value in values] + regions[0].tolist()
    row = {name: float(f"{number:.6g}") for name, number in zip(NUMBERS, numbers, strict=True)}
    return row | {"skipped": ""}, base64.b64encode(level[0].cpu().numpy().astype("<f2").tobytes()).decode()


def measure_all(model: plqlite.FaceModel, photos: Mapping[str, Path], table: Path, levels: Path) -> None:
    """Append a row for every photo that has none yet."""
    known, mapped = open_table(table, COLUMNS), open_table(levels, LEVELS)
    known, mapped = (each[each["model"] == model.label] for each in (known, mapped))
    done = set(known["image"][(known["skipped"] != "") | known["image"].isin(mapped["image"])])
    for image, photo in tqdm(photos.items(), desc=model.name, unit="photo"):
        if image not in done:
            row, level = measure_photo(model, photo)
            key = {"model": model.label, "image": image}
            if level:
                append_rows(levels, LEVELS, [key | {"level": level}])
            append_rows(table, COLUMNS, [key | row])  # last: a row means a complete measurement


def rows_of(model: plqlite.FaceModel, photos: Mapping[str, Path], table: Path) -> pd.DataFrame:
    """Return what the table holds of these photos, each once."""
    rows = open_table(table, COLUMNS)
    rows = rows[(rows["model"] == model.label) & rows["image"].isin(list(photos))]
    return rows.drop_duplicates("image", keep="last")


def measurements_of(rows: pd.DataFrame, levels: pd.DataFrame) -> calibration.Measurements:
    """Read the measurements of some rows from the tables."""
    texts = levels.drop_duplicates(["model", "image"], keep="last").merge(rows[["model", "image"]])["level"]
    maps = np.stack([np.frombuffer(base64.b64decode(text), "<f2").reshape(28, 28) for text in texts])
    values = rows["quality"], rows["centre"], rows["background"], maps, rows[list(REGIONS)]
    return calibration.Measurements(*(torch.tensor(np.asarray(each, dtype=np.float32)) for each in values))


def fit_model(
    model: plqlite.FaceModel, photos: Mapping[str, Path], table: Path, levels: Path, folder: str
) -> dict:
    """Fit the constants of a model, save them beside its weights, and return them for a JSON file."""
    rows = rows_of(model, photos, table)
    used = rows[rows["skipped"] == ""]
    if len(used) < 2:
        raise ValueError(f"{len(used)} of {len(rows)} photos can be used, at least 2 are needed: see {table}")
    measurements = measurements_of(used, open_table(levels, LEVELS))
    provenance = f"calibrate.py on {len(used)} photos of {folder}; closed form, signed"
    scaling = calibration.fit(*measurements[:3], provenance)
    statistics = calibration.fit_reference_statistics(measurements)
    if model.calibration_file is not None:
        calibration.save_calibration(model.calibration_file, scaling, statistics, model.identity)
    print(model.label, asdict(scaling))
    return calibration.to_json(scaling, statistics)


def write_json(path: Path, fitted: Mapping[str, dict]) -> None:
    """Write the constants of all models, one in a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in fitted.items())
    write_aside(path, lambda file: file.write(f"{{\n{lines}\n}}\n".encode()))


def draw(path: Path, rows: pd.DataFrame, fitted: Mapping[str, dict]) -> None:
    """Draw the distribution of Q before and after Eq. 2, two panels for each model (Fig. 11)."""
    figure, axes = plt.subplots(
        len(fitted), 2, squeeze=False, figsize=(8, 2.6 * len(fitted)), layout="constrained"
    )
    for (raw, scaled), (name, entry) in zip(axes, fitted.items(), strict=True):
        quality = torch.tensor(rows["quality"][rows["model"] == name].dropna().to_numpy())
        raw.hist(quality, bins=40, range=(0, 1))
        raw.set(title=f"{name}, n = {len(quality)}", xlabel="Q")
        scaled.hist(plqlite.scale_quality(quality, entry["alpha"], entry["r"]), bins=40, range=(0, 1))
        scaled.set(title=f"α = {entry['alpha']}, r = {entry['r']}", xlabel="Q̂")
    write_aside(path, lambda file: figure.savefig(file, format="png", dpi=120))


def main() -> None:
    """Measure what has not been measured yet, then fit and write the constants."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    photos = {path.relative_to(folder).as_posix(): path for path in sorted(find_photos(folder))}
    parser.refuse_no_photos(photos, folder, "photos of faces")
    table, levels = out.with_suffix(".csv"), out.with_suffix(".levels.csv")
    if table == out:
        parser.error(f"--out {out}: the measurements take this name, choose one that ends in .json")
    models, fitted = parser.load_models(arguments.model), {}
    for model in models:
        measure_all(model, photos, table, levels)
        try:
            fitted[model.label] = fit_model(model, photos, table, levels, folder.name)
        except ValueError as error:
            parser.exit(1, f"{model.name}: {error}\n")
    rows = pd.concat([rows_of(model, photos, table) for model in models])
    write_json(out, fitted)
    draw(out.with_suffix(".png"), rows, fitted)
    print(f"{(rows['skipped'] != '').sum()} of {len(rows)} measurements skipped; see {table}")


if __name__ == "__main__":
    main()
