"""Are the maps right, and is the score? Measure both on photos of people, against rivals.

    python data_scripts/evaluate.py FOLDER --out data/evaluation [--model NAME …] [--interventions 3]
                                    [--deletions 1] [--sanity 3] [--seed 0]

FOLDER holds PERSON/PHOTO, two photos of each person or more, such as LFW. NAME is a model whose features have
places (default: sface and facenet).

Scores: every photo, and two worse versions of it (plqlite.experiments.degradations), get nine quality scores;
all pairs of them give the error-versus-discard curves of each score, with the threshold of the photos as they
are. Maps: 23 maps of the first few photos of each person, as --interventions and --deletions say, are
compared with what happens when patches are replaced, and pixels deleted
(plqlite/experiments/faithfulness.py). For the first --sanity people, weights are made random, and cost and
sensitivity are measured. What a map knows of other faces, it knows of other people: those of FOLDER.

Measurements are written to .csv files in --out, a row each, so a run that was interrupted resumes where it
stopped. At the end, small tables with means and 95 % intervals over people are written to out/results, with
about.json: command, seed, versions, date.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite.console import run
from plqlite.experiments.build import hash_of
from plqlite.experiments.dataset import identity_of
from plqlite.experiments.discard import (
    LIMITS,
    SHARES,
    Pairs,
    all_pairs,
    equal_error_threshold,
    error_versus_discard,
    partial_area,
    random_area,
    threshold_at,
)
from plqlite.experiments.evaluation import (
    SCORES,
    agreement_rows,
    cost_rows,
    deletion_rows,
    from_text,
    in_text,
    maps_of_face,
    quality_scores,
    sanity_rows,
)
from plqlite.experiments.faithfulness import area_between
from plqlite.experiments.icao import align_simulated
from plqlite.experiments.rivals import Map, all_rivals
from plqlite.experiments.scripts import ScriptParser, about, load_largest_face
from plqlite.experiments.statistics import mean_over_identities
from plqlite.experiments.tables import append_rows, open_table, read_table
from plqlite.experiments.versions import with_degraded
from plqlite.faces import NoFaceFound, UnreadableImage, largest_face, read_image
from plqlite.files import write_text
from plqlite.locks import locked

KEY: dict[str, type] = {"model": str, "image": str, "sha256": str}
SCORED = KEY | {"version": str, "embedding": str, **dict.fromkeys(SCORES, float)}
MAPPED = KEY | {"map": str}
TABLES: dict[str, dict[str, type]] = {
    "scores": SCORED,
    "agreement": MAPPED | {"fill": str, "shift": float, "fall": float},
    "deletion": MAPPED | {"fill": str, "first": str, "score": str, "quality": str},
    "sanity": MAPPED | {"stage": str, "rho": float, "ssim": float},
    "cost": MAPPED | {"cost": float, "sensitivity": float},
}
YARDSTICKS = ("centre", "PLQ, signed")  # a map that looks at nothing, and the paper's
CLEAN = ""  # the version of a photo as it is
FMRS = (0.1, 0.01, 0.001, 0.0001)  # as far as the pairs reach


class Table:
    """A table of measurements that grows: a key that it holds is not measured again."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.columns = folder / f"{name}.csv", TABLES[name]
        self.done = set(open_table(self.path, self.columns)[list(KEY)].itertuples(index=False, name=None))

    def __contains__(self, key: Mapping[str, str]) -> bool:
        """Tell whether a photo has been measured."""
        return tuple(key.values()) in self.done

    def add(self, key: Mapping[str, str], rows: Iterable[Mapping]) -> None:
        """Append the rows of a photo, all at once."""
        append_rows(self.path, self.columns, [{**key, **row} for row in rows])
        self.done.add(tuple(key.values()))


# --- measuring ---


def key_of(model: plqlite.FaceModel, name: str, path: Path) -> dict[str, str]:
    """Return what a measurement belongs to."""
    return {"model": model.label, "image": name, "sha256": hash_of(path)}


def measure_scores(model: plqlite.FaceModel, photos: Mapping[str, Path], table: Table, seed: int) -> None:
    """Measure the quality scores of all versions of all photos."""
    for name, path in tqdm(photos.items(), desc=f"{model.name}, scores", unit="photo"):
        key = key_of(model, name, path)
        if key in table:
            continue
        try:
            photo = read_image(path)
            face = largest_face(photo)
        except (NoFaceFound, UnreadableImage) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        rows = []
        for kind, altered in with_degraded(photo, face, name).items():
            image = align_simulated(model, altered, face).image
            scores, embedding = quality_scores(model, image, altered.photo, face, seed)
            rows.append({"version": kind, "embedding": in_text(embedding.tolist())} | scores)
        table.add(key, rows)


def measure_maps(
    model: plqlite.FaceModel,
    photos: Mapping[str, Path],
    keys: Mapping[str, dict],
    options: argparse.Namespace,
) -> None:
    """Measure the maps of the first few photos of each person."""
    seed = options.seed
    faces = aligned(model, {name: photos[name] for name in keys})
    tables = {name: Table(options.out, name) for name in TABLES if name != "scores"}
    people = tqdm(list(dict.fromkeys(faces.subjects)), desc=f"{model.name}, maps", unit="person")
    for person, subject in enumerate(people):
        own, others = np.flatnonzero(faces.subjects == subject), torch.tensor(faces.subjects != subject)
        rivals: dict[str, Map] = {}
        for number, index in enumerate(own):
            key = keys[faces.names[index]]
            asked = [name for name in tables if is_asked(name, person, number, options)]
            missing = [name for name in asked if key not in tables[name]]
            if missing and not rivals:
                rivals = all_rivals(model, faces.images[others], faces.plq[others].mean(0), seed)
            mate, average = faces.embeddings[own[(number + 1) % len(own)]], faces.images[others].mean(0)
            maps: dict[str, torch.Tensor] = {}
            for name in missing:
                rows = measured(name, model, faces.images[index], mate, rivals, maps, average, seed)
                tables[name].add(key, rows)


class Faces(NamedTuple):
    """The N aligned faces of one model."""

    names: list[str]
    subjects: np.ndarray  # (N,)
    images: torch.Tensor  # (N, 3, size, size)
    plq: torch.Tensor  # (N, size, size)
    embeddings: torch.Tensor  # (N, d)


def aligned(model: plqlite.FaceModel, photos: Mapping[str, Path]) -> Faces:
    """Align and explain the faces of some photos."""
    images = torch.cat([load_largest_face(path, model) for path in photos.values()])
    subjects = np.array([identity_of(name) for name in photos])
    with torch.no_grad():
        embeddings = torch.cat([model(batch) for batch in images.split(32)])
    return Faces(list(photos), subjects, images, plqlite.explain(model, images).plq, embeddings)


def is_asked(table: str, person: int, number: int, options: argparse.Namespace) -> bool:
    """Tell whether a photo, by its number among those of a person, is measured for a table."""
    if table in ("sanity", "cost"):
        return number == 0 and person < options.sanity
    return number < {"agreement": options.interventions, "deletion": options.deletions}[table]


def measured(
    table: str,
    model: plqlite.FaceModel,
    image: torch.Tensor,
    mate: torch.Tensor,
    rivals: Mapping[str, Map],
    maps: dict[str, torch.Tensor],
    average: torch.Tensor,
    seed: int,
) -> list[dict]:
    """Return the rows of one photo for a table; its maps are made once."""
    cheap = {name: rival for name, rival in rivals.items() if not name.startswith(("occlusion", "RISE"))}
    if table == "sanity":
        return list(sanity_rows(model, image, cheap, seed))
    if table == "cost":
        return list(cost_rows(model, image, rivals, cheap))
    if not maps:
        maps.update(maps_of_face(model, image, rivals))
    if table == "agreement":
        return agreement_rows(model, image, maps, average)
    return deletion_rows(model, image, mate, maps, average, seed)


# --- summaries ---


def pairs_of(rows: pd.DataFrame) -> tuple[Pairs, Pairs]:
    """Return the pairs of all versions of the photos of one model, and those of the photos as they are."""
    embeddings = torch.from_numpy(np.stack(rows["embedding"].map(from_text)))
    subjects = rows["image"].map(identity_of).tolist()
    pairs = all_pairs(torch.nn.functional.normalize(embeddings, dim=1), subjects, rows["image"].tolist())
    clean = (rows["version"] == CLEAN).to_numpy()
    return pairs, Pairs(*(each[clean[pairs.first] & clean[pairs.second]] for each in pairs))


def discard_tables(
    rows: pd.DataFrame, pairs: Pairs, among_clean: Pairs, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return partial areas and curves of all quality scores of one model, and areas of random ones."""
    impostors = among_clean.score[~among_clean.genuine]
    areas, curves = [], []
    for fmr in (each for each in FMRS if len(impostors) * each >= 1):
        threshold = threshold_at(impostors, fmr)
        for score in SCORES:
            quality = rows[score].to_numpy()
            curve = error_versus_discard(pairs, quality, fmr, threshold, SHARES[::5], seed)
            curves.append(curve.assign(score=score, fmr=fmr))
            for limit in LIMITS:
                area = partial_area(pairs, quality, threshold, limit, seed)
                areas.append({"score": score, "fmr": fmr, "limit": limit} | area._asdict())
        for limit in LIMITS:
            area = random_area(pairs, threshold, limit, seed)
            areas.append({"score": "random", "fmr": fmr, "limit": limit} | area._asdict())
    return pd.DataFrame(areas), pd.concat(curves)


def over_people(rows: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """Return the mean of some columns for each group, with intervals over people."""
    found = []
    for group, part in rows.groupby(by, sort=False):
        names = dict(zip(by, group if isinstance(group, tuple) else (group,), strict=True))
        for value in values:
            estimate = mean_over_identities(part[value], part["image"].map(identity_of))
            found.append(names | {"measure": value} | estimate._asdict())
    return pd.DataFrame(found)


def by_fill(rows: pd.DataFrame, values: list[str]) -> pd.DataFrame:
    """Return means for each map and fill, and over all fills; the latter also less those of YARDSTICKS."""
    parts = [over_people(rows, ["model", "map", "fill"], values)]
    everything = {"": rows, **{name: ahead_of(rows, values, name) for name in YARDSTICKS}}
    for name, each in everything.items():
        photos = each.groupby(["model", "map", "image"], sort=False)[values].mean().reset_index()
        parts.append(over_people(photos, ["model", "map"], values).assign(fill="all", ahead_of=name))
    return pd.concat(parts).fillna({"ahead_of": ""})


def ahead_of(rows: pd.DataFrame, values: list[str], yardstick: str) -> pd.DataFrame:
    """Subtract from the values of each map those of another one, of the same photo and with the same fill."""
    keys = ["model", "image", "fill"]
    theirs = rows[rows["map"] == yardstick].set_index(keys)[values]
    return (rows.set_index([*keys, "map"])[values] - theirs).reset_index()


def gains(rows: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Return the symmetric relevance gains of each photo, map and fill: of score, match (0 or 1) and Q."""
    keys = ["model", "image", "map", "fill"]
    wide = rows.pivot(index=keys, columns="first", values=["score", "quality"])
    found, models = {}, wide.index.get_level_values("model")
    for name in ("score", "quality"):
        low, high = (np.stack(wide[name][first].map(from_text)) for first in ("low", "high"))  # (N, 20)
        found[f"gain of {name}"] = area_between(low, high)
        if name == "score":
            limit = models.map(thresholds).to_numpy()[:, None]
            found["gain of matches"] = area_between(1.0 * (low >= limit), 1.0 * (high >= limit))
    return pd.DataFrame(found, index=wide.index).reset_index()


def summarise(out: Path, models: list[str], seed: int) -> None:
    """Write the small tables."""
    results = out / "results"
    results.mkdir(exist_ok=True)
    read = {name: read_table(out / f"{name}.csv", columns) for name, columns in TABLES.items()}
    read = {name: rows[rows["model"].isin(models)] for name, rows in read.items()}
    areas, curves, thresholds = [], [], {}
    for model in models:
        scores = read["scores"][read["scores"]["model"] == model].reset_index(drop=True)
        pairs, among_clean = pairs_of(scores)
        thresholds[model] = equal_error_threshold(among_clean)
        area, curve = discard_tables(scores, pairs, among_clean, seed)
        areas.append(area.assign(model=model))
        curves.append(curve.assign(model=model))
    tables = {"discard_areas": pd.concat(areas), "discard_curves": pd.concat(curves)}
    if len(read["agreement"]):
        tables["agreement"] = by_fill(read["agreement"], ["shift", "fall"])
    if len(read["deletion"]):
        found = gains(read["deletion"], thresholds)
        tables["gain"] = by_fill(found, [name for name in found if name.startswith("gain")])
    if len(read["sanity"]):
        tables["sanity"] = over_people(read["sanity"], ["model", "map", "stage"], ["rho", "ssim"])
    if len(read["cost"]):
        tables["cost"] = over_people(read["cost"], ["model", "map"], ["cost"])
        cheap = read["cost"][read["cost"]["sensitivity"].notna()]
        tables["sensitivity"] = over_people(cheap, ["model", "map"], ["sensitivity"])
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.4g", lineterminator="\n")
        write_text(results / f"{name}.csv", text)


def main() -> None:
    """Measure what has not been measured yet, then write the results."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    for name, default in {"interventions": 3, "deletions": 1, "sanity": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_seed()
    options = parser.parse_args()
    parser.refuse_out_inside(options.out, options.folder)
    photos, _ = parser.photos_and_faces(options.folder, None)
    models = parser.load_models(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    with locked(options.out / "scores.csv"):
        for model in models:
            scores = Table(options.out, "scores")
            measure_scores(model, photos, scores, options.seed)
            keys = {name: key_of(model, name, path) for name, path in photos.items()}
            used = {name: key for name, key in keys.items() if key in scores}
            measure_maps(model, photos, used, options)
        summarise(options.out, [model.label for model in models], options.seed)
        known = about("data_scripts/evaluate.py", options.folder, options.out)
        known |= {"photos": len(photos), "seed": options.seed}
        text = json.dumps(known, indent=1) + "\n"
        write_text(options.out / "results" / "about.json", text)
    print(f"Results in {options.out / 'results'}")


if __name__ == "__main__":
    run(main)
