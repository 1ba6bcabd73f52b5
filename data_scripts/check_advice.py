"""Check advice on faces whose fault is known: a block of one colour on one of eight regions.

    python data_scripts/check_advice.py FOLDER [--model NAME …] [--out advice.csv] [--seed 0]

FOLDER holds PERSON/PHOTO, such as LFW. Covers each region of each face in turn, in one of the twelve
colours of Fig. 13, and measures it, and the face itself. Then prints how often the region with the lowest
z is the covered one, how often a region is named (z below −3) and right, and how often nothing is said of
a clean face, with 95 % intervals over people. What is usual is learned from *other* people: each person
is judged by the rest.
Measurements go to --out photo by photo: a run that was interrupted goes on where it stopped (use another
--out for another folder).
"""

import argparse
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite.advice import RARE, UNUSUAL
from plqlite.dataset import identity_of, photos_of
from plqlite.disturb import COLOURS, coloured_mask
from plqlite.faces import REGIONS, face_regions
from plqlite.measure import Estimate, share_positive
from plqlite.models import label, load_model
from plqlite.saliency import region_levels
from plqlite.tables import append_rows, open_table

COLUMNS = {"model": str, "image": str, "covered": str, "seed": int, "quality": float}
COLUMNS |= dict.fromkeys(REGIONS, float)


def measure(model: plqlite.FaceModel, photo: Path, image: str, seed: int) -> pd.DataFrame:
    """Return the level of each region in the face itself ("") and with each region covered."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            face = plqlite.load_face(photo, model)[0]
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        print(f"{image}: {error}")
        return pd.DataFrame(columns=list(COLUMNS))
    regions = face_regions(model)
    rng = np.random.default_rng([seed, zlib.crc32(image.encode())])
    colours = [list(COLOURS.values())[index] for index in rng.integers(len(COLOURS), size=len(regions))]
    blocks = [
        coloured_mask(face, mask.to(face.device), by) for mask, by in zip(regions, colours, strict=True)
    ]
    explanation = plqlite.explain(model, torch.stack([face, *blocks]))  # as `advise` does it
    levels = region_levels(explanation.saliency, regions).cpu().double().round(decimals=5)  # (9, 8)
    rows = pd.DataFrame(levels.tolist(), columns=list(REGIONS))
    rows["quality"] = explanation.quality.cpu().double().round(decimals=6).tolist()
    return rows.assign(model=label(model), image=image, covered=["", *REGIONS], seed=seed)


def measured(table: Path, model: plqlite.FaceModel, photos: Iterable[str], seed: int) -> pd.DataFrame:
    """Return what the table holds of some photos, each face and block once."""
    rows = open_table(table, COLUMNS)
    rows = rows[(rows["model"] == label(model)) & (rows["seed"] == seed) & rows["image"].isin(list(photos))]
    return rows.drop_duplicates(["image", "covered"], keep="last").reset_index(drop=True)


def judged(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return z of each region, and whether Q is rare, against the clean faces of other people."""
    people, names = rows["image"].map(identity_of), list(REGIONS)
    z, rare = rows[names].copy(), pd.Series(False, rows.index)
    for person in people.unique():
        own, others = people == person, rows[(people != person) & (rows["covered"] == "")]
        z[own] = (rows[own][names] - others[names].mean()) / others[names].std()
        rare[own] = rows[own]["quality"] < others["quality"].quantile(RARE / 100)
    return z, rare


def report(model: str, rows: pd.DataFrame) -> None:
    """Print how often advice is right."""
    (z, rare), people, clean = judged(rows), rows["image"].map(identity_of), rows["covered"] == ""
    lowest, named = z.idxmin(axis=1), z.min(axis=1) < UNUSUAL
    right = lowest == rows["covered"]

    def share(values: pd.Series) -> Estimate:
        return share_positive(values, people[values.index])

    found = {
        "the lowest region is the covered one": share(right[~clean]),
        "a region is named, and the first is the covered one": share((named & right)[~clean]),
        "of those where one is named, the first is right": share(right[~clean & named]),
        "of a clean face, nothing is said": share((~named & ~rare)[clean]),
    }
    for text, value in found.items():
        print(f"{model}: {text}: {value.mean:.0%} [{value.low:.0%}, {value.high:.0%}] of {value.count}")
    by_region = right[~clean].groupby(rows["covered"][~clean], sort=False).mean()
    print(f"{model}: " + ", ".join(f"{name} {value:.0%}" for name, value in by_region.items()))


def main() -> None:
    """Measure what has not been measured yet, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("advice.csv"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photos, seed = photos_of(arguments.folder), arguments.seed
    if seed < 0:
        parser.error(f"--seed {seed}: a seed is 0 or more")
    for name in arguments.model:
        model = load_model(name)
        done = measured(arguments.out, model, photos, seed)["image"].value_counts()
        for image, photo in tqdm(photos.items(), desc=model.name, unit="photo"):
            if done.get(image, 0) < 1 + len(REGIONS):  # an interruption may have cut off some rows
                append_rows(arguments.out, COLUMNS, measure(model, photo, image, seed))
        rows = measured(arguments.out, model, photos, seed)
        if rows["image"].map(identity_of).nunique() < 3:
            parser.error(f"{arguments.folder} should hold PERSON/PHOTO of three people or more")
        report(label(model), rows)


if __name__ == "__main__":
    main()
