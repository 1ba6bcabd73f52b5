"""Aligned data sets on disk: a folder of crops for each model, and one index.csv."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from plqlite.explain import write_aside
from plqlite.faces import NoFaceFound, find_faces, read_image
from plqlite.models import FaceModel
from plqlite.tables import append_rows, open_table, write_table

PHOTOS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm")
BOX = ("left", "top", "right", "bottom")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left as the viewer sees it
FACE = (*BOX, *(f"{point}_{axis}" for point in LANDMARKS for axis in "xy"))
INDEX = {"image": str, "identity": str, "source": str} | dict.fromkeys(FACE, float) | {"sha256": str}
SKIPPED = {"image": str, "error": str, "reason": str, "sha256": str}

Made = tuple[dict, Mapping[str, np.ndarray]]  # a row of the index, and an image (H, W, 3) for each folder


def photos_of(folder: Path) -> dict[str, Path]:
    """Find the photos of a data set that has a folder for each person.

    Parameters
    ----------
    folder : holds PERSON/PHOTO; a photo that lies in no person's folder counts as a person of its own

    Returns
    -------
    Name of the crop to be made -> photo, sorted.

    Examples
    --------
    >>> photos_of(Path("lfw"))["Ada/Ada_0001.png"]
    PosixPath('lfw/Ada/Ada_0001.jpg')
    """
    photos = {}
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS and path.is_file()
    ):
        # As the index can hold it: UTF-8, in one line.
        source = path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
        source = re.sub(r"[\r\n]", " ", source)
        name = str(Path(source).with_suffix(".png"))
        photos[source + ".png" if name in photos else name] = path
    return photos


def identity_of(image: str) -> str:
    """Return the person in an image of a data set: the first folder of its name.

    Examples
    --------
    >>> identity_of("Ada/Ada_0001.png")
    'Ada'
    """
    person, _, photo = image.partition("/")
    return person if photo else person.removesuffix(".png")


def prepare(
    photos: Mapping[str, Path],
    folder: Path,
    models: Sequence[FaceModel],
    read: Callable[[Path], np.ndarray] = read_image,
) -> pd.DataFrame:
    """Find the largest face of each photo, align it for each model, and index the crops.

    Writes folder/MODEL/IMAGE (.png, as `load_face` would crop it), folder/index.csv and folder/skipped.csv.
    Goes on where it was interrupted.

    Parameters
    ----------
    photos : name of each crop, PERSON/PHOTO.png -> photo; see `photos_of`
    folder : where to write
    models : choose size and alignment
    read : makes an array of a photo, see `read_image`

    Returns
    -------
    The index: image, identity, source, box and landmarks in pixels of the photo, SHA-256 of the photo.

    Raises
    ------
    OSError, ValueError
        The folder cannot be written, or holds another data set.

    Examples
    --------
    >>> prepare(photos_of(Path("lfw")), Path("aligned"), [plqlite.sface()])
    """

    def make(image: str, path: Path) -> Made:
        photo = read(path)
        found = find_faces(photo)
        if not found:
            raise NoFaceFound(f"no face found in an image of {photo.shape[1]}×{photo.shape[0]} pixels")
        row = {"image": image, "identity": identity_of(image), "source": path.name}
        row |= zip(FACE, [*found[0].box, *found[0].landmarks.flatten()], strict=True)
        return row, {model.name: model.align(photo, found[0], model.size) for model in models}

    return build(folder, photos, INDEX, [model.name for model in models], make)


def build(
    folder: Path,
    sources: Mapping[str, Path],
    columns: Mapping[str, type],
    variants: Sequence[str],
    make: Callable[[str, Path], Made],
) -> pd.DataFrame:
    """Make one or more images of each source, and an index with a row for each source.

    What is done already stays as it is, in the index too if it is not asked for now. What cannot be used
    goes to skipped.csv with the reason, and is tried again unless it is no image or shows no face.

    Parameters
    ----------
    folder : where to write folder/VARIANT/IMAGE, folder/index.csv and folder/skipped.csv
    sources : name of each image -> the file that it is made of
    columns : name and type of the index's columns, the last being the source's sha256
    variants : names of folders
    make : called with name and source; returns a row, and an image (H, W, 3) of uint8 for each variant

    Returns
    -------
    The index, in the order of the sources.

    Raises
    ------
    OSError, ValueError
        The folder cannot be written, or holds another index.

    Examples
    --------
    >>> build(folder, {"ada.png": photo}, {"image": str, "sha256": str}, ["grey"], to_grey)
    """
    tables = {folder / "index.csv": columns, folder / "skipped.csv": SKIPPED}
    index, skipped = tables
    made, refused = (open_table(path, kinds) for path, kinds in tables.items())
    made = {*_keys(made)}
    refused = {*_keys(refused[refused["error"].isin(["NoFaceFound", "UnreadableImage"])])}
    hashes = {}
    for name, path in tqdm(sources.items(), desc=folder.name, unit="image", disable=None):
        files = {variant: folder / variant / name for variant in variants}
        try:
            hashes[name] = ""
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            key = name, hashes[name]
            if key in refused or (key in made and all(file.exists() for file in files.values())):
                continue
            row, images = make(name, path)
        except Exception as error:  # decoders raise anything, and one image must not end a run of thousands
            row = {"image": name, "error": type(error).__name__, "reason": str(error)}
            append_rows(skipped, SKIPPED, [row | {"sha256": hashes[name]}])
            continue
        for variant, file in files.items():
            write_png(file, images[variant])
        append_rows(index, columns, [row | {"sha256": hashes[name]}])  # last: a row stands for complete files
    done, left = (_current(open_table(path, kinds), hashes) for path, kinds in tables.items())
    write_table(index, done)
    write_table(skipped, left[~left["image"].isin(done["image"])])  # some were made at a second try
    return done[done["image"].isin(sources)].reset_index(drop=True)


def _keys(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Return what tells whether a row is up to date: the image, and what it was made of."""
    return zip(table["image"], table["sha256"], strict=True)


def _current(table: pd.DataFrame, hashes: Mapping[str, str]) -> pd.DataFrame:
    """Drop rows that are out of date or there twice; put the others in the order of the sources."""
    table = table[table["image"].map(hashes).fillna(table["sha256"]) == table["sha256"]]
    table = table.drop_duplicates("image", keep="last")
    places = table["image"].map({image: place for place, image in enumerate(hashes)}).fillna(len(hashes))
    return table.loc[places.sort_values(kind="stable").index]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) of uint8; the file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: Image.fromarray(image).save(file, format="png"))


def aligned_faces(folder: Path, model: FaceModel) -> dict[str, Path]:
    """Find the crops for a model in a data set that `prepare` has written.

    Parameters
    ----------
    folder : holds index.csv
    model : one that the data set was prepared for

    Returns
    -------
    Name of each image -> crop, in the order of the index.

    Raises
    ------
    FileNotFoundError
        There is no index, or crops for this model are missing.

    Examples
    --------
    >>> plqlite.load_face(aligned_faces(folder, model)["Ada/Ada_0001.png"], model, aligned=True)
    """
    folder = Path(folder)
    if not (folder / "index.csv").exists():
        raise FileNotFoundError(f"{folder} holds no index.csv: write one with data_scripts/prepare_lfw.py.")
    images = open_table(folder / "index.csv", INDEX)["image"]
    crops = {image: folder / model.name / image for image in images}
    missing = sum(not crop.exists() for crop in crops.values())
    if missing:
        raise FileNotFoundError(
            f"{missing} of {len(crops)} crops for {model.name} are missing in {folder}: run the script that "
            f"prepared it again, with --model {model.name}."
        )
    return crops
