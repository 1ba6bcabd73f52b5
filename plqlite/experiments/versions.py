"""Measure photos and altered versions of them, into two tables that calibrations are fitted on."""

import base64
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from plqlite.calibration import Measurements
from plqlite.console import printable
from plqlite.development import measure
from plqlite.experiments.build import hash_of, keys_of
from plqlite.experiments.dataset import identity_of
from plqlite.experiments.degradations import degraded_versions
from plqlite.experiments.icao import Crop, align_simulated
from plqlite.experiments.noncompliance import Simulated
from plqlite.experiments.tables import append_rows, open_table, read_table
from plqlite.faces import Face, NoFaceFound, UnreadableImage, largest_face, read_image
from plqlite.locks import locked
from plqlite.networks.model import FaceModel

# The hash is that of the photo: one that has changed is measured again. Version "" is the photo as it is.
KEY: dict[str, type] = {"model": str, "image": str, "sha256": str, "version": str}
NUMBERS = ("quality", "centre", "background")
COLUMNS = KEY | dict.fromkeys(NUMBERS, float) | {"skipped": str}
RIVALS = ("energy", "red", "green", "blue")  # maps that know nothing of the quality, see `rivals_of`
MAPS = KEY | dict.fromkeys(("level", "signal", "noise", *RIVALS, "covered"), str)  # float32 in base 64
LISTED = ("image", "subject", "covered", "reference")

Alter = Callable[[np.ndarray, Face, str], Mapping[str, Simulated]]  # photo, face, name -> version -> altered


def with_degraded(photo: np.ndarray, face: Face, image: str) -> dict[str, Simulated]:
    """Return a photo as it is, and two worse versions of it."""
    return {"": Simulated(photo, None, False)} | degraded_versions(photo, face.landmarks, image)


def measure_versions(
    model: FaceModel, photos: Mapping[str, Path], alter: Alter, table: Path, maps: Path, rivals: bool = False
) -> None:
    """Measure all versions of the photos that the tables do not hold yet, and append them.

    Parameters
    ----------
    model : its own scaling is not used
    photos : name -> photo
    alter : makes the versions of a photo, such as `with_degraded`
    table, maps : .csv files, of numbers and of maps
    rivals : measure maps to compare with, too

    Examples
    --------
    >>> import tempfile
    >>> import plqlite
    >>> from plqlite.experiments.tables import open_table
    >>> folder = Path(tempfile.mkdtemp())
    >>> measure_versions(plqlite.sface(), {}, with_degraded, folder / "a.csv", folder / "a.maps.csv")
    >>> list(open_table(folder / "a.csv", COLUMNS))[:3]
    ['model', 'image', 'sha256']
    """
    with locked(table):
        _measure_missing(model, photos, alter, table, maps, rivals)


def _measure_missing(
    model: FaceModel, photos: Mapping[str, Path], alter: Alter, table: Path, maps: Path, rivals: bool
) -> None:
    """Do what `measure_versions` does, into tables that nobody else writes."""
    known, mapped = open_table(table, COLUMNS), open_table(maps, MAPS)
    known, mapped = (each[each["model"] == model.label] for each in (known, mapped))
    done = keys_of(known[known["skipped"] != ""]) | (keys_of(known) & keys_of(mapped))
    for image, path in tqdm(photos.items(), desc=model.name, unit="photo"):
        key = image, hash_of(path)
        if key not in done:
            numbers, texts = _rows(model, *key, path, alter, rivals)
            append_rows(maps, MAPS, texts)
            append_rows(table, COLUMNS, numbers)  # last: rows mean a complete measurement


def _rows(
    model: FaceModel, image: str, digest: str, path: Path, alter: Alter, rivals: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure all versions of a photo: rows of numbers, and of maps."""
    key = {"model": model.label, "image": image, "sha256": digest}
    try:
        photo = read_image(path)
        face = largest_face(photo)
    except (NoFaceFound, UnreadableImage, OSError) as error:
        row = key | {"version": "", "skipped": str(error)}
        return pd.DataFrame([row], columns=list(COLUMNS)), pd.DataFrame(columns=list(MAPS))
    altered = alter(photo, face, image)
    crops = [align_simulated(model, each, face) for each in altered.values()]
    batches = torch.stack([crop.image for crop in crops]).split(12)
    measured = [measure(model, batch) for batch in batches]
    if rivals:
        for each, batch in zip(measured, batches, strict=True):
            each.maps.update(rivals_of(model, batch))
    keys = key | {"version": list(altered)}
    numbers = {name: torch.cat([getattr(each, name) for each in measured]) for name in NUMBERS}
    rounded = {name: [float(f"{value:.6g}") for value in values] for name, values in numbers.items()}
    texts = {name: _encoded(torch.cat([each.maps[name] for each in measured])) for name in measured[0].maps}
    texts["covered"] = _encoded(torch.stack([_coarse(crop) for crop in crops]))
    complete = keys | rounded | {"skipped": ""}
    return pd.DataFrame(complete), pd.DataFrame(dict.fromkeys(MAPS, "") | keys | texts)


@torch.no_grad()
def rivals_of(model: FaceModel, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return maps of images (B, 3, size, size) that need no head: the energy of the cells, and the colours.

    Examples
    --------
    >>> import plqlite
    >>> maps = rivals_of(plqlite.sface(), torch.full((1, 3, 112, 112), 100.0))
    >>> {name: tuple(each.shape) for name, each in maps.items()}
    {'energy': (1, 7, 7), 'red': (1, 28, 28), 'green': (1, 28, 28), 'blue': (1, 28, 28)}
    """
    colours = adaptive_avg_pool2d(images, 28)  # (B, 3, 28, 28)
    energy = model.cells(images).square().sum(1)  # (B, h, w)
    return dict(zip(RIVALS, (energy, *colours.unbind(1)), strict=True))


def _coarse(crop: Crop) -> torch.Tensor:
    """Return which share of each place is covered, (28, 28)."""
    if crop.mask is None:
        return torch.zeros(28, 28)
    return adaptive_avg_pool2d(crop.mask[None].float().cpu(), 28)[0]


def _encoded(maps: torch.Tensor) -> list[str]:
    """Turn square maps into texts."""
    return [base64.b64encode(each.tobytes()).decode() for each in maps.cpu().numpy().astype("<f4")]


def _decoded(texts: pd.Series) -> torch.Tensor:
    """Turn texts into square maps, (N, h, h)."""
    maps = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
    side = round(maps.shape[1] ** 0.5)
    return torch.tensor(maps.reshape(-1, side, side).astype(np.float32))


def read_versions(
    model: FaceModel, faces: pd.DataFrame, table: Path, maps: Path
) -> tuple[pd.DataFrame, Measurements, torch.Tensor]:
    """Read what was measured of some faces.

    Parameters
    ----------
    model : whose rows
    faces : rows of `listed_faces`
    table, maps : see `measure_versions`

    Returns
    -------
    rows, with what the list says of each; their Measurements; which share of each place the version covers
    (but for what the photo itself shows), (N, 28, 28)
    """
    rows, texts = read_table(table, COLUMNS), read_table(maps, MAPS)
    rows = rows[(rows["model"] == model.label) & (rows["skipped"] == "")].drop_duplicates(
        list(KEY), keep="last"
    )
    rows = rows.merge(faces, on=["image", "sha256"])
    texts = rows[list(KEY)].merge(texts.drop_duplicates(list(KEY), keep="last"), on=list(KEY), validate="1:1")
    numbers = rows[list(NUMBERS)].to_numpy(dtype=np.float32)
    quality, centre, background = torch.tensor(numbers).unbind(1)
    measured = [name for name in list(MAPS)[len(KEY) :] if len(texts) and (texts[name] != "").all()]
    found = {name: _decoded(texts[name]) for name in measured}
    covered = found.pop("covered", torch.zeros(0, 28, 28))
    return rows, Measurements(quality, centre, background, found), covered


def groups_of(rows: pd.DataFrame) -> list[str]:
    """Return the source of each row, for `fit_alarms`; the subject if there is but one source.

    Examples
    --------
    >>> groups_of(pd.DataFrame({"subject": ["ada", "bob"], "source": ["", ""]}))
    ['ada', 'bob']
    """
    return rows["source" if rows["source"].nunique() > 1 else "subject"].tolist()


def listed_faces(photos: Mapping[str, Path], listing: Path | None) -> pd.DataFrame:
    """Return what a list says of the photos: image, subject, covered, reference, source and their SHA-256.

    Of several copies of one photo the first counts, so that no photo has more weight than another.

    Parameters
    ----------
    photos : name -> photo
    listing : a .csv file with these columns; without one, each photo shows an uncovered face of the subject
        that its folder names, and reference statistics are learnt from it

    Raises
    ------
    ValueError
        The list lacks a column, or a photo.

    Examples
    --------
    >>> listed_faces({"ada/0001.jpg": Path("ada/0001.jpg")}, None)["subject"].tolist()
    ['ada']
    """
    hashes = {image: hash_of(path) for image, path in photos.items()}
    if listing is None:
        faces = pd.DataFrame({"image": list(photos)})
        faces = faces.assign(subject=faces["image"].map(identity_of), covered="", reference="yes", source="")
        return _without_copies(faces.assign(sha256=faces["image"].map(hashes)))
    faces = pd.read_csv(listing, dtype=str, keep_default_na=False)
    if missing := [name for name in LISTED if name not in faces]:
        raise ValueError(f"{listing} has no column {missing[0]!r}: it needs {', '.join(LISTED)}.")
    if unknown := sorted(set(photos) - set(faces["image"])):
        raise ValueError(f"{listing} does not list {len(unknown)} photos, such as {unknown[0]}: add them.")
    faces = faces[faces["image"].isin(list(photos))].assign(**{} if "source" in faces else {"source": ""})
    return _without_copies(faces.assign(sha256=faces["image"].map(hashes)))


def _without_copies(faces: pd.DataFrame) -> pd.DataFrame:
    """Leave out photos that are copies of others, and say so."""
    copies = (faces["sha256"] != "") & faces.duplicated("sha256")
    if copies.any():
        example = printable(faces["image"][copies].iloc[0])
        text = f"{copies.sum()} of {len(faces)} photos are copies of others, such as {example}: not counted."
        warnings.warn(text, stacklevel=3)
    return faces[~copies].reset_index(drop=True)
