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
alarm, so that 5 % of the faces of other sources, blurred and dark ones among them, raise one (of other
people, if LIST.csv has no column `source`). The measurements are written to two .csv files beside the result,
so a run that was interrupted resumes where it stopped (use another --out for another folder). Photos that
cannot be used are listed there with the reason. A picture beside the result shows Q before and after Eq. 2
for each model, as Fig. 11 does for Adience (to get that, give prepare_adience.py your copy, and this program
its folder of faces).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

import plqlite
from plqlite import calibration, development
from plqlite.console import run
from plqlite.experiments.degradations import EVERYWHERE
from plqlite.experiments.scripts import ScriptParser
from plqlite.experiments.tables import read_table
from plqlite.experiments.versions import (
    COLUMNS,
    groups_of,
    measure_versions,
    read_versions,
    with_degraded,
)
from plqlite.figures import save_figure
from plqlite.files import write_text
from plqlite.reference import fit_reference_statistics


def fit_model(
    model: plqlite.FaceModel, rows: pd.DataFrame, measured: calibration.Measurements, folder: str
) -> dict:
    """Fit the constants of a model, save them beside its weights, and return them for a JSON file."""
    is_clean = _mask(rows["version"] == "")
    clean, worse = development.rows_of(measured, is_clean), measured.quality[~is_clean]
    number = f"{len(clean.quality)} photos of {folder} and {len(worse)} degraded versions"
    scaling = calibration.fit(
        *clean[:3], provenance=f"calibrate.py on {number}; closed form, signed", degraded=worse
    )
    statistics = fit_statistics(model, rows, measured)
    if model.calibration_file is not None:
        calibration.save_calibration(model.calibration_file, scaling, statistics, model.identity)
    print(model.label, asdict(scaling))
    return calibration.to_json(scaling, statistics)


def fit_statistics(
    model: plqlite.FaceModel, rows: pd.DataFrame, measured: calibration.Measurements
) -> calibration.ReferenceStatistics:
    """Learn from the faces that the list names, and choose the alarms on all that nothing covers."""
    learnt = (rows["version"] == "") & (rows["reference"] == "yes")
    uncovered = rows["version"].isin(["", *EVERYWHERE])
    statistics = fit_reference_statistics(development.rows_of(measured, _mask(learnt)))
    judged = development.rows_of(measured, _mask(uncovered))
    alarms = development.fit_alarms(model, judged, groups_of(rows[uncovered]), _mask(learnt[uncovered]))
    return statistics._replace(alarms=alarms)


def _mask(rows: pd.Series) -> torch.Tensor:
    """Turn a column of bool into a tensor."""
    return torch.tensor(rows.to_numpy(dtype=bool))


def write_json(path: Path, fitted: Mapping[str, dict]) -> None:
    """Write the constants of all models, one in a line."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in fitted.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def draw(path: Path, qualities: Mapping[str, Mapping[str, torch.Tensor]], fitted: Mapping[str, dict]) -> None:
    """Draw the distribution of Q before and after Eq. 2, two panels for each model (Fig. 11)."""
    figure, axes = plt.subplots(
        len(fitted), 2, squeeze=False, figsize=(8, 2.6 * len(fitted)), layout="constrained"
    )
    for (raw, scaled), (name, entry) in zip(axes, fitted.items(), strict=True):
        parts = qualities[name]
        style = {"bins": 40, "range": (0, 1), "stacked": True, "label": list(parts)}
        raw.hist(list(parts.values()), **style)
        number = sum(len(part) for part in parts.values())
        raw.set_title(f"{name}, n = {number}", parse_math=False)  # a name may hold a $
        raw.set(xlabel="Q")
        raw.legend(loc="upper left", fontsize=8)
        after = [plqlite.scale_quality(part, entry["alpha"], entry["r"]) for part in parts.values()]
        scaled.hist(after, **style)
        scaled.set(title=f"α = {entry['alpha']}, r = {entry['r']}", xlabel="Q̂")
    save_figure(figure, path)


def main() -> None:
    """Measure what has not been measured yet, then fit and write the constants."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    parser.add_faces()
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    photos, everything = parser.photos_and_faces(folder, arguments.faces)
    faces = everything[everything["covered"] == ""]
    table, maps, picture = (out.with_suffix(end) for end in (".csv", ".maps.csv", ".png"))
    parser.refuse_same_names(out, table, maps, picture, arguments.faces)
    models, fitted, qualities = parser.load_models(arguments.model), {}, {}
    for model in models:
        measure_versions(model, photos, with_degraded, table, maps)
        rows, measured, _ = read_versions(model, faces, table, maps)
        clean = _mask(rows["version"] == "")
        if clean.sum() < 2:
            count = f"{clean.sum()} of {len(faces)}"
            parser.exit(1, f"{model.name}: {count} photos can be used, at least 2 are needed: see {table}\n")
        try:
            fitted[model.label] = fit_model(model, rows, measured, folder.name)
        except ValueError as error:
            parser.exit(1, f"{model.name}: {error}\n")
        parts = {"as they are": measured.quality[clean], "degraded": measured.quality[~clean]}
        qualities[model.label] = parts
    write_json(out, fitted)
    draw(picture, qualities, fitted)
    rows = read_table(table, COLUMNS).merge(everything[["image", "sha256"]])
    rows = rows[rows["model"].isin(list(fitted))]
    print(f"{(rows['skipped'] != '').sum()} of {len(rows)} measurements skipped; see {table}")


if __name__ == "__main__":
    run(main)
