"""Check advice on faces whose fault is known: a block of one colour on one of eight regions.

    python data_scripts/check_advice.py FOLDER --out advice.csv [--model NAME …] [--seed 0]

FOLDER holds PERSON/PHOTO, such as LFW. Covers each region of each face in turn, in one of the twelve
colours of Fig. 13, and measures it, and the face itself. Then prints how often the region with the lowest
z-score is the covered one, how often a region is named (z below −3) and right, and how often nothing is said
about a clean face, with 95 % intervals over subjects. The reference statistics come from *other* subjects:
each one is judged by the rest.
Measurements are written to --out photo by photo: a run that was interrupted resumes where it stopped (use
another --out for another folder).
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import plqlite
from plqlite.advice import LOW, RARE
from plqlite.experiments.dataset import identity_of, photos_of
from plqlite.experiments.masks import COLOURS, coloured_mask
from plqlite.experiments.scripts import ScriptParser, load_largest_face
from plqlite.experiments.statistics import Estimate, share_positive
from plqlite.experiments.tables import append_rows, open_table
from plqlite.faces import REGIONS
from plqlite.regions import face_regions, region_levels

COLUMNS: dict[str, type] = {
    **{"model": str, "image": str, "covered": str, "seed": int, "quality": float},
    **dict.fromkeys(REGIONS, float),
}


def covered_faces(model: plqlite.FaceModel, face: torch.Tensor, image: str, seed: int) -> torch.Tensor:
    """Return a face (3, H, W) as it is, and with a block on each region: (9, 3, H, W)."""
    regions = face_regions(model).to(face.device)
    rng = np.random.default_rng([seed, zlib.crc32(image.encode())])
    colours = [list(COLOURS.values())[index] for index in rng.integers(len(COLOURS), size=len(regions))]
    blocks = [coloured_mask(face, mask, colour) for mask, colour in zip(regions, colours, strict=True)]
    return torch.stack([face, *blocks])


def level_rows(model: plqlite.FaceModel, photo: Path, image: str, seed: int) -> pd.DataFrame:
    """Return the level of each region in the face itself ("") and with each region covered."""
    try:
        face = load_largest_face(photo, model)[0]
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        print(f"{image}: {error}")
        return pd.DataFrame(columns=list(COLUMNS))
    explanation = plqlite.explain(model, covered_faces(model, face, image, seed))  # as for `advise`
    levels = region_levels(explanation.saliency, face_regions(model))  # (9, 8)
    rows = pd.DataFrame(levels.cpu().double().round(decimals=5).tolist(), columns=list(REGIONS))
    rows["quality"] = explanation.quality.cpu().double().round(decimals=6).tolist()
    return rows.assign(model=model.label, image=image, covered=["", *REGIONS], seed=seed)


def rows_of(table: Path, model: plqlite.FaceModel, photos: Mapping[str, Path], seed: int) -> pd.DataFrame:
    """Return what the table holds of some photos, each face and block once."""
    rows = open_table(table, COLUMNS)
    rows = rows[(rows["model"] == model.label) & (rows["seed"] == seed) & rows["image"].isin(list(photos))]
    return rows.drop_duplicates(["image", "covered"], keep="last").reset_index(drop=True)


def measure_all(table: Path, model: plqlite.FaceModel, photos: Mapping[str, Path], seed: int) -> pd.DataFrame:
    """Measure the photos that the table does not hold yet, and return the rows of all."""
    done = rows_of(table, model, photos, seed)["image"].value_counts()
    for image, photo in tqdm(photos.items(), desc=model.name, unit="photo"):
        if done.get(image, 0) < 1 + len(REGIONS):  # an interruption may have cut off some rows
            append_rows(table, COLUMNS, level_rows(model, photo, image, seed))
    return rows_of(table, model, photos, seed)


def judged(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return z-scores of the regions, and whether Q is rare, against the clean faces of other subjects."""
    subjects, names = rows["image"].map(identity_of), list(REGIONS)
    z, rare = rows[names].copy(), pd.Series(False, rows.index)
    for subject in subjects.unique():
        own, others = subjects == subject, rows[(subjects != subject) & (rows["covered"] == "")]
        z[own] = (rows[own][names] - others[names].mean()) / others[names].std()
        rare[own] = rows[own]["quality"] < others["quality"].quantile(RARE / 100)
    return z, rare


def report(model: str, rows: pd.DataFrame) -> None:
    """Print how often advice is right."""
    (z, rare), subjects, clean = judged(rows), rows["image"].map(identity_of), rows["covered"] == ""
    named, right = z.min(axis=1) < LOW, z.idxmin(axis=1) == rows["covered"]

    def share(values: pd.Series) -> Estimate:
        return share_positive(values, subjects[values.index])

    shares = {
        "the lowest region is the covered one": share(right[~clean]),
        "a region is named, and the first is the covered one": share((named & right)[~clean]),
        "of those where one is named, the first is right": share(right[~clean & named]),
        "of a clean face, nothing is said": share((~named & ~rare)[clean]),
    }
    for text, value in shares.items():
        print(f"{model}: {text}: {value.mean:.0%} [{value.low:.0%}, {value.high:.0%}] of {value.count}")
    by_region = right[~clean].groupby(rows["covered"][~clean], sort=False).mean()
    print(f"{model}: " + ", ".join(f"{name} {value:.0%}" for name, value in by_region.items()))


def main() -> None:
    """Measure what has not been measured yet, and report."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    parser.add_seed()
    arguments = parser.parse_args()
    photos = photos_of(arguments.folder)
    parser.refuse_no_photos(photos, arguments.folder, "PERSON/PHOTO of three people or more")
    for model in parser.load_models(arguments.model):
        rows = measure_all(arguments.out, model, photos, arguments.seed)
        if rows["image"].map(identity_of).nunique() < 3:
            parser.error(f"{arguments.folder} should hold PERSON/PHOTO of three people or more")
        report(model.label, rows)


if __name__ == "__main__":
    main()
