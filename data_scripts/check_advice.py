"""Check what finds an occluder, and whom `advise` accuses, on people and sources that took no part.

    python data_scripts/check_advice.py FOLDER --out advice.md [--faces LIST.csv] [--model NAME …]
                                        [--apart subject|source]

FOLDER and LIST.csv are as for calibrate.py. Each photo is measured as it is, in two worse versions, and
behind each of seven drawn occluders. Then all that is fitted (α, r, reference statistics, alarms) is fitted
again without a tenth of the subjects, which are judged by it, in turn; with --apart source without the photos
of each source in turn. Reference statistics are learnt from the faces that the list names for it.

--out gets three tables with 95 % intervals over subjects: how well the occluder's place is found, and photos
with an occluder are told from those without, by several maps; how often a part of the face is named; and how
many photos are off the scale of Q̂. Measurements are written to two .csv files beside it, so a run that was
interrupted resumes where it stopped (use another --out for another folder).
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import interpolate

import plqlite
from plqlite.calibration import Measurements
from plqlite.console import run
from plqlite.development import fit_alarms, rows_of
from plqlite.experiments.degradations import EVERYWHERE, degrade
from plqlite.experiments.noncompliance import Simulated
from plqlite.experiments.occluders import OCCLUDERS
from plqlite.experiments.scripts import ScriptParser
from plqlite.experiments.statistics import Estimate, localisation_auc, mean_over_identities
from plqlite.experiments.versions import (
    RIVALS,
    groups_of,
    measure_versions,
    read_versions,
    with_degraded,
)
from plqlite.faces import Face
from plqlite.files import write_text
from plqlite.reference import deviation, fit_reference_statistics
from plqlite.regions import beyond_alarms, region_masks, region_z_scores

PARTS = ("level", "signal", "noise")  # of the deviation
ALONE = ("energy", *PARTS)  # maps that are judged by themselves, too
LABELS = {
    "colours": "colours of the pixels (no network)",
    "energy": "energy Σ f² of the cells (no head)",
    "level": "level of the map Ŝ",
    "signal": "signal of the cells",
    "noise": "noise of the cells",
    "deviation": "**deviation**: level, signal and noise",
}
BEHIND = "behind "  # begins the version of a photo behind an occluder
GROUPS = 10  # of subjects


def with_occluders(photo: np.ndarray, face: Face, image: str) -> dict[str, Simulated]:
    """Return a photo as it is, two worse versions, and seven with something in front of the face."""
    seed = zlib.crc32(image.encode(errors="surrogateescape"))
    behind = {BEHIND + kind: degrade(photo, face.landmarks, kind, seed) for kind in OCCLUDERS}
    return {**with_degraded(photo, face, image), **behind}


class Judged(NamedTuple):
    """All versions of faces that nothing of their own covers, each judged by others than its own group."""

    rows: pd.DataFrame  # image, version, subject, source, scaled (Q̂), first (the region that is named first)
    maps: dict[str, torch.Tensor]  # map -> (N, 28, 28), lower where the face deviates
    covered: torch.Tensor  # (N, 28, 28), share of each place that the occluder covers


def judge(
    model: plqlite.FaceModel, rows: pd.DataFrame, measured: Measurements, covered: torch.Tensor, apart: str
) -> Judged:
    """Judge each group of faces by what is fitted on all others."""
    rows = rows.assign(scaled=np.nan, first="")
    maps = {name: torch.zeros(len(rows), 28, 28) for name in (*ALONE, "colours", "deviation")}
    for own in groups(rows, apart):
        others = (rows["version"].isin(["", *EVERYWHERE]) & (rows["covered"] == "")).to_numpy() & ~own
        learnt = others & (rows["version"] == "").to_numpy() & (rows["reference"] == "yes").to_numpy()
        found, scaled, first = judge_group(model, rows, measured, own, others, learnt)
        for name, values in found.items():
            maps[name][torch.tensor(own)] = values
        rows.loc[own, "scaled"], rows.loc[own, "first"] = scaled, first
    return Judged(rows, maps, covered)


def groups(rows: pd.DataFrame, apart: str) -> Iterator[np.ndarray]:
    """Split the rows into groups of subjects, or into sources: (N,) of bool each."""
    names = list(dict.fromkeys(rows[apart]))
    for number in range(min(GROUPS, len(names)) if apart == "subject" else len(names)):
        chosen = names[number::GROUPS] if apart == "subject" else [names[number]]
        yield rows[apart].isin(chosen).to_numpy()


def judge_group(
    model: plqlite.FaceModel,
    rows: pd.DataFrame,
    measured: Measurements,
    own: np.ndarray,
    others: np.ndarray,
    learnt: np.ndarray,
) -> tuple[dict[str, torch.Tensor], np.ndarray, list[str]]:
    """Return maps, Q̂ and the region named first of some faces, by constants that others gave."""
    test, clean = (rows_of(measured, torch.tensor(each)) for each in (own, learnt))
    fitted_on = ~behind(rows) & (rows["covered"] == "").to_numpy() & ~own
    alpha, r = plqlite.fit_scaling(measured.quality[torch.tensor(fitted_on)])
    found = {name: deviation_of(test, clean, [name]) for name in ALONE}
    colours = torch.stack([deviation_of(test, clean, [name]) for name in RIVALS[1:]])
    found["colours"] = -colours.square().sum(0)  # brighter or darker, both are unusual
    found["deviation"] = deviation_of(test, clean, PARTS)
    parts = measured._replace(maps={name: measured.maps[name] for name in PARTS})
    judged, is_learnt = rows_of(parts, torch.tensor(others)), torch.tensor(learnt[others])
    alarms = fit_alarms(model, judged, groups_of(rows[others]), is_learnt)
    parts_of_faces = region_scores(model, found["deviation"])
    first = [next(iter(beyond_alarms(z, alarms)), "") for z in parts_of_faces]
    return found, plqlite.scale_quality(test.quality, alpha, r).numpy(), first


def region_scores(model: plqlite.FaceModel, maps: torch.Tensor) -> list[dict[str, float]]:
    """Return the z-score of each part of each face, of maps (n, 28, 28)."""
    large = interpolate(maps[:, None], (model.size, model.size), mode="bilinear")[:, 0]
    z = region_z_scores(large, model)
    return [dict(zip(z, values, strict=True)) for values in torch.stack(list(z.values()), dim=1).tolist()]


def deviation_of(test: Measurements, clean: Measurements, names: Sequence[str]) -> torch.Tensor:
    """Return the deviation of some faces from others by some of their maps, (n, 28, 28)."""
    clean, test = (each._replace(maps={name: each.maps[name] for name in names}) for each in (clean, test))
    return deviation(test.maps, fit_reference_statistics(clean), 28)


# --- tables ---


def find_table(judged: dict[str, Judged], models: Sequence[plqlite.FaceModel]) -> str:
    """Return how well each map finds the place of an occluder, and photos with one."""
    header = "".join(f" {model.name}, place | photo |" for model in models)
    lines = [f"| |{header}", "|---|" + "---|---|" * len(models)]
    for name, label in LABELS.items():
        cells = ""
        for model in models:
            each = judged[model.label]
            cells += f" {in_words(place_auc(each, name))} | {in_words(photo_auc(model, each, name))} |"
        lines.append(f"| {label} |{cells}")
    return "\n".join(lines)


def in_words(estimate: Estimate) -> str:
    """Write a mean and its interval."""
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def behind(rows: pd.DataFrame) -> np.ndarray:
    """Mark the versions behind an occluder, (N,) of bool."""
    return rows["version"].str.startswith(BEHIND).to_numpy()


def place_auc(judged: Judged, name: str) -> Estimate:
    """Return the chance that a covered place is lower than another of the same face, averaged over faces."""
    masks = judged.covered > 0.5
    seen = [n for n in np.flatnonzero(behind(judged.rows)) if masks[n].any()]
    values = [localisation_auc(judged.maps[name][n], masks[n]) for n in seen]
    return mean_over_identities(values, judged.rows["subject"].iloc[seen])


def photo_auc(model: plqlite.FaceModel, judged: Judged, name: str, draws: int = 500) -> Estimate:
    """Return the chance that the lowest region of an occluded face is lower than that of one as it is."""
    lowest = np.array([min(z.values()) for z in region_scores(model, judged.maps[name])])
    free = (judged.rows["covered"] == "").to_numpy()
    counted = free & (behind(judged.rows) | (judged.rows["version"] == "").to_numpy())
    occluded, lowest = behind(judged.rows)[counted], lowest[counted]
    subject, names = pd.factorize(judged.rows["subject"][counted])
    rng, found, count = np.random.default_rng(0), [], len(names)
    for _ in range(draws):
        weight = np.bincount(rng.integers(count, size=count), minlength=count)
        found.append(roc_auc_score(occluded, -lowest, sample_weight=weight[subject]))
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(float(roc_auc_score(occluded, -lowest)), float(low), float(high), int(counted.sum()))


def name_table(judged: dict[str, Judged], models: Sequence[plqlite.FaceModel]) -> str:
    """Return how often a part of the face is named, and how often the first is one that is covered."""
    header = "".join(f" {model.name}, named | and right |" for model in models)
    lines = [f"| |{header} n |", "|---|" + "---|---|" * len(models) + "---|"]
    rows = next(iter(judged.values())).rows
    free = rows["covered"] == ""
    kinds = {
        "as they are": free & (rows["version"] == ""),
        "degraded, nothing in front": free & rows["version"].isin(EVERYWHERE),
        **{f"drawn: {kind}": rows["version"] == BEHIND + kind for kind in OCCLUDERS},
        **{f"worn or held: {kind}": rows["covered"] == kind for kind in sorted(set(rows["covered"]) - {""})},
    }
    for label, chosen in kinds.items():
        cells = "".join(named_cells(model, judged[model.label], chosen.to_numpy()) for model in models)
        lines.append(f"| {label} |{cells} {chosen.sum()} |")
    return "\n".join(lines)


def named_cells(model: plqlite.FaceModel, judged: Judged, chosen: np.ndarray) -> str:
    """Return two cells of the table: share named, and share named rightly where that is known."""
    first, masks = judged.rows["first"][chosen], judged.covered[torch.tensor(chosen)]
    subjects = judged.rows["subject"][chosen]
    named = f" {share(first != '', subjects)} |"
    if not masks.any():
        return named + " |"
    right = pd.Series([touches(model, mask, each) for mask, each in zip(masks, first, strict=True)])
    return f"{named} {share(right, subjects)} |"


def share(values: pd.Series, subjects: pd.Series) -> str:
    """Write a share in percent, with its interval."""
    estimate = mean_over_identities(values.astype(float), subjects)
    interval = "" if np.isnan(estimate.low) else f" [{estimate.low:.0%}, {estimate.high:.0%}]"
    return f"{estimate.mean:.0%}{interval}"  # one person alone says nothing about others


def touches(model: plqlite.FaceModel, covered: torch.Tensor, region: str) -> bool:
    """Tell whether a tenth or more of a region is covered, as far as 28×28 places can say."""
    if not region:
        return False
    large = interpolate(covered[None, None], (model.size, model.size))[0, 0]
    return bool(large[region_masks(model)[region]].mean() >= 0.1)


def level_table(judged: dict[str, Judged], models: Sequence[plqlite.FaceModel]) -> str:
    """Return how many photos are off the scale of Q̂, and how many degraded ones are below their originals."""
    lines = [
        "| | Q̂ < 0.05 | Q̂ > 0.95 | n | degraded versions with a lower Q | n |",
        "|---|---|---|---|---|---|",
    ]
    for model in models:
        rows = judged[model.label].rows
        rows = rows[rows["covered"] == ""]
        clean, worse = rows[rows["version"] == ""], rows[~behind(rows) & (rows["version"] != "")]
        ends = [share(each, clean["subject"]) for each in (clean["scaled"] < 0.05, clean["scaled"] > 0.95)]
        original = clean.set_index("image")["quality"][worse["image"]].to_numpy()
        below = share(worse["quality"] < original, worse["subject"])
        lines.append(f"| {model.name} | {ends[0]} | {ends[1]} | {len(clean)} | {below} | {len(worse)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what has not been measured yet, judge, and write the tables."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    parser.add_faces()
    parser.add_argument("--apart", choices=("subject", "source"), default="subject")
    arguments = parser.parse_args()
    folder, out = arguments.folder, arguments.out
    photos, faces = parser.photos_and_faces(folder, arguments.faces)
    models, judged = parser.load_models(arguments.model), {}
    table, maps = out.with_suffix(".csv"), out.with_suffix(".maps.csv")
    parser.refuse_same_names(out, table, maps, arguments.faces)
    for model in models:
        measure_versions(model, photos, with_occluders, table, maps, rivals=True)
        rows, measured, covered = read_versions(model, faces, table, maps)
        used = ((rows["covered"] == "") | (rows["version"] == "")).to_numpy()  # covered faces as they are
        rows, measured = rows[used].reset_index(drop=True), rows_of(measured, torch.tensor(used))
        covered = covered[torch.tensor(used)]
        if rows["subject"].nunique() < 3:
            parser.error(
                f"{folder} should hold photos of three people or more, in which nothing covers the face"
            )
        judged[model.label] = judge(model, rows, measured, covered, arguments.apart)
    tables = [make(judged, models) for make in (find_table, name_table, level_table)]
    text = "\n\n".join(tables) + "\n"
    write_text(out, text)
    print(text, end="")


if __name__ == "__main__":
    run(main)
