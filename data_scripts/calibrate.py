"""Fit α, r (Eq. 2), γ (Eq. 6) and reference statistics of one or more models on a folder of face photos.

    python data_scripts/calibrate.py FOLDER --out calibration.json [--faces LIST.csv] [--model NAME …]

NAME is one that the command line of plqlite knows (default: sface and facenet), or the path of an .onnx file.
FOLDER is LFW, for example. LIST.csv says what the photos show, a row each: `image` (its path below FOLDER),
`subject`, `covered` (by what; a photo whose cell is not empty is left out) and `reference` (yes: the
reference statistics are learnt from it). Without a list, each photo is taken for a face that nothing covers,
of the subject that its folder names.

Every photo is measured as it is, and in two worse versions (plqlite.experiments.degradations). α and r are
fitted on all, γ and the reference statistics on the photos as they are: mean and standard deviation, at each
place, of log Ŝ and of signal and noise of the cells, and the percentiles of Q. Each part of the face gets an
alarm, so that 5 % of the faces of other people, blurred and dark ones among them, raise one. The measurements
are written to two .csv files beside the result, so a run that was interrupted resumes where it stopped (use
another --out for another folder). Photos that cannot be used are listed there with the reason. A picture
beside the result shows Q before and after Eq. 2 for each model, as Fig. 11 does for Adience (to get that,
give prepare_adience.py your copy, and this program its folder of faces).
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
from plqlite.experiments.dataset import find_photos, identity_of
from plqlite.experiments.degradations import EVERYWHERE, degraded_versions
from plqlite.experiments.icao import align_simulated
from plqlite.experiments.noncompliance import Simulated
from plqlite.experiments.scripts import ScriptParser
from plqlite.experiments.tables import append_rows, open_table
from plqlite.faces import largest_face, read_image
from plqlite.files import write_aside
from plqlite.reference import fit_reference_statistics

KEY = {"model": str, "image": str, "version": str}  # version: "" or a kind of degradation
COLUMNS: dict[str, type] = {
    **KEY,
    **dict.fromkeys(("quality", "centre", "background"), float),
    **{"skipped": str},
}
MAPS = {**KEY, **dict.fromkeys(("level", "signal", "noise"), str)}  # float32 in base 64


def versions_of(model: plqlite.FaceModel, path: Path, image: str) -> dict[str, torch.Tensor]:
    """Align a photo and worse versions of it: version -> (3, size, size)."""
    photo = read_image(path)
    face = largest_face(photo)
    versions = {"": Simulated(photo, None, False)} | degraded_versions(photo, face.landmarks, image)
    return {version: align_simulated(model, each, face).image for version, each in versions.items()}


def measure_photo(model: plqlite.FaceModel, path: Path, image: str) -> tuple[list[dict], list[dict]]:
    """Return what `plqlite.development.measure` finds in all versions of a photo: numbers, and maps."""
    try:
        versions = versions_of(model, path, image)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        key = {"model": model.label, "image": image, "version": ""}
        return [{name: None for name in COLUMNS} | key | {"skipped": str(error)}], []
    *values, maps = development.measure(model, torch.stack(list(versions.values())))
    numbers, texts = [], []
    for index, version in enumerate(versions):
        key = {"model": model.label, "image": image, "version": version}
        quality, centre, background = (float(f"{each[index]:.6g}") for each in values)
        numbers.append(
            key | dict(zip(COLUMNS, [*key.values(), quality, centre, background, ""], strict=True))
        )
        texts.append(
            key | {name: _encoded(maps[name][index]) if name in maps else "" for name in list(MAPS)[3:]}
        )
    return numbers, texts


def _encoded(values: torch.Tensor) -> str:
    """Turn a square map into a text."""
    return base64.b64encode(values.cpu().numpy().astype("<f4").tobytes()).decode()


def _decoded(texts: pd.Series) -> torch.Tensor:
    """Turn texts into square maps, (N, h, h)."""
    maps = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
    side = round(maps.shape[1] ** 0.5)
    return torch.from_numpy(maps.reshape(-1, side, side).astype(np.float32))


def measure_all(model: plqlite.FaceModel, photos: Mapping[str, Path], table: Path, maps: Path) -> None:
    """Append the rows of every photo that has none yet."""
    known, mapped = open_table(table, COLUMNS), open_table(maps, MAPS)
    known, mapped = (each[each["model"] == model.label] for each in (known, mapped))
    done = set(known["image"][known["skipped"] != ""]) | (set(known["image"]) & set(mapped["image"]))
    for image, path in tqdm(photos.items(), desc=model.name, unit="photo"):
        if image not in done:
            numbers, texts = measure_photo(model, path, image)
            if texts:
                append_rows(maps, MAPS, texts)
            append_rows(table, COLUMNS, numbers)  # last: rows mean a complete measurement


def listed(photos: Mapping[str, Path], listing: Path | None) -> pd.DataFrame:
    """Return what the list says of the photos: image, subject, covered, reference.

    Raises
    ------
    ValueError
        The list lacks a column, or a photo.
    """
    if listing is None:
        faces = pd.DataFrame({"image": list(photos)})
        return faces.assign(subject=faces["image"].map(identity_of), covered="", reference="yes")
    faces, needed = (
        pd.read_csv(listing, dtype=str, keep_default_na=False),
        ["image", "subject", "covered", "reference"],
    )
    if missing := [name for name in needed if name not in faces]:
        raise ValueError(f"{listing} has no column {missing[0]!r}: it needs {', '.join(needed)}.")
    if unknown := sorted(set(photos) - set(faces["image"])):
        raise ValueError(f"{listing} does not list {len(unknown)} photos, such as {unknown[0]}: add them.")
    return faces[faces["image"].isin(list(photos))]


def rows_of(model: plqlite.FaceModel, faces: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return what the table holds of these faces, each version once, with what the list says."""
    rows = open_table(table, COLUMNS)
    rows = rows[rows["model"] == model.label].drop_duplicates(["image", "version"], keep="last")
    return rows.merge(faces, on="image")


def measurements_of(rows: pd.DataFrame, maps: pd.DataFrame) -> calibration.Measurements:
    """Read the measurements of some rows from the tables."""
    maps = maps.drop_duplicates(list(KEY), keep="last")
    texts = rows[list(KEY)].merge(maps, on=list(KEY), validate="1:1")
    values = (
        torch.tensor(rows[name].to_numpy(dtype=np.float32)) for name in ("quality", "centre", "background")
    )
    found = {
        name: _decoded(texts[name]) for name in ("level", "signal", "noise") if (texts[name] != "").all()
    }
    return calibration.Measurements(*values, found)


def fit_model(model: plqlite.FaceModel, faces: pd.DataFrame, table: Path, maps: Path, folder: str) -> dict:
    """Fit the constants of a model, save them beside its weights, and return them for a JSON file."""
    rows = rows_of(model, faces, table)
    used = rows[(rows["skipped"] == "") & (rows["covered"] == "")]
    clean, count = (used["version"] == "").to_numpy(), rows["image"].nunique()
    if clean.sum() < 2:
        raise ValueError(f"{clean.sum()} of {count} photos can be used, at least 2 are needed: see {table}")
    measurements = measurements_of(used, open_table(maps, MAPS))
    faces_alone, quality = development.rows_of(measurements, torch.tensor(clean)), measurements.quality
    number = f"{clean.sum()} photos of {folder} and {(~clean).sum()} degraded versions"
    provenance = f"calibrate.py on {number}; closed form, signed"
    scaling = calibration.fit(*faces_alone[:3], provenance, degraded=quality[~clean])
    statistics = fit_statistics(model, used, measurements)
    if model.calibration_file is not None:
        calibration.save_calibration(model.calibration_file, scaling, statistics, model.identity)
    print(model.label, asdict(scaling))
    return calibration.to_json(scaling, statistics)


def fit_statistics(
    model: plqlite.FaceModel, used: pd.DataFrame, measurements: calibration.Measurements
) -> calibration.ReferenceStatistics:
    """Learn from the faces that the list names, and choose the alarms on all that nothing covers."""
    learnt = (used["version"] == "") & (used["reference"] == "yes")
    uncovered = used["version"].isin(["", *EVERYWHERE])
    statistics = fit_reference_statistics(development.rows_of(measurements, _mask(learnt)))
    judged = development.rows_of(measurements, _mask(uncovered))
    subjects = used["subject"][uncovered].tolist()
    alarms = development.fit_alarms(model, judged, subjects, _mask(learnt[uncovered]))
    return statistics._replace(alarms=alarms)


def _mask(rows: pd.Series) -> torch.Tensor:
    """Turn a column of bool into a tensor."""
    return torch.tensor(rows.to_numpy(dtype=bool))


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
        known = rows[(rows["model"] == name) & (rows["skipped"] == "") & (rows["covered"] == "")]
        clean = known["version"] == ""
        parts = [torch.tensor(known["quality"][each].to_numpy()) for each in (clean, ~clean)]
        style = {"bins": 40, "range": (0, 1), "stacked": True, "label": ("as they are", "degraded")}
        raw.hist(parts, **style)
        raw.set(title=f"{name}, n = {len(known)}", xlabel="Q")
        raw.legend(loc="upper left", fontsize=8)
        scaled.hist([plqlite.scale_quality(part, entry["alpha"], entry["r"]) for part in parts], **style)
        scaled.set(title=f"α = {entry['alpha']}, r = {entry['r']}", xlabel="Q̂")
    write_aside(path, lambda file: figure.savefig(file, format="png", dpi=120))


def main() -> None:
    """Measure what has not been measured yet, then fit and write the constants."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    parser.add_argument("--faces", type=Path, metavar="LIST.csv")
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    photos = {path.relative_to(folder).as_posix(): path for path in sorted(find_photos(folder))}
    parser.refuse_no_photos(photos, folder, "photos of faces")
    table, maps = out.with_suffix(".csv"), out.with_suffix(".maps.csv")
    if table in (out, arguments.faces):
        parser.error(f"--out {out}: the measurements take the name {table}, choose another")
    try:
        faces = listed(photos, arguments.faces)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    models, fitted = parser.load_models(arguments.model), {}
    for model in models:
        measure_all(model, photos, table, maps)
        try:
            fitted[model.label] = fit_model(model, faces, table, maps, folder.name)
        except ValueError as error:
            parser.exit(1, f"{model.name}: {error}\n")
    rows = pd.concat([rows_of(model, faces, table) for model in models])
    write_json(out, fitted)
    draw(out.with_suffix(".png"), rows, fitted)
    print(f"{(rows['skipped'] != '').sum()} photos could not be used; see {table}")


if __name__ == "__main__":
    main()
