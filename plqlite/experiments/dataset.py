"""Data sets on disk: images of faces in a folder for each variant, and one index.csv."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from plqlite.experiments.tables import append_rows, open_table, write_table
from plqlite.faces import PHOTO_SUFFIXES, Face, largest_face, read_image
from plqlite.files import write_aside
from plqlite.networks.model import FaceModel

BOX = ("left", "top", "right", "bottom")
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left as the viewer sees it
FACE = (*BOX, *(f"{point}_{axis}" for point in LANDMARKS for axis in "xy"))
INDEX: dict[str, type] = {
    **{"image": str, "identity": str, "source": str},
    **dict.fromkeys(FACE, float),
    **{"sha256": str},
}
SKIPPED: dict[str, type] = {"image": str, "error": str, "reason": str, "sha256": str}

Loaded = TypeVar("Loaded")  # what is read of a source
Made = tuple[dict, Mapping[str, np.ndarray]]  # a row of the index, and an image (H, W, 3) for each variant


def photos_of(folder: Path) -> dict[str, Path]:
    """Find the photos of a data set that has a folder for each person.

    Parameters
    ----------
    folder : holds PERSON/PHOTO; a photo that is in no person's folder counts as a person of its own

    Returns
    -------
    Name of the crop to be made -> photo, sorted.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "Ada_0001.jpg").touch()
    >>> [(name, path.name) for name, path in photos_of(folder).items()]
    [('Ada_0001.png', 'Ada_0001.jpg')]
    """
    photos: dict[str, Path] = {}
    for path in sorted(find_photos(folder)):
        # As the index can hold it: UTF-8, in one line.
        source = path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
        source = re.sub(r"[\r\n]", " ", source)
        name = str(Path(source).with_suffix(".png"))
        photos[source + ".png" if name in photos else name] = path
    return photos


def find_photos(folder: Path) -> Iterator[Path]:
    """Find all files below a folder that are photos by their suffix.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "Ada.JPG").touch(), (folder / "notes.txt").touch()
    (None, None)
    >>> [path.name for path in find_photos(folder)]
    ['Ada.JPG']
    """
    for path in folder.rglob("*"):
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file():
            yield path


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

    Writes folder/MODEL/IMAGE (.png, cropped as by `load_face`), folder/index.csv and folder/skipped.csv.
    Resumes where it was interrupted.

    Parameters
    ----------
    photos : name of each crop, PERSON/PHOTO.png -> photo; see `photos_of`
    folder : where to write
    models : their sizes and alignments decide
    read : turns a photo into an array, see `read_image`

    Returns
    -------
    The index: image, identity, source, box and landmarks in pixels of the photo, SHA-256 of the photo.

    Raises
    ------
    OSError, ValueError
        The folder cannot be written, or holds another data set.

    Examples
    --------
    >>> import plqlite, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_png(folder / "Ada" / "1.png", plqlite.sample_faces()["astronaut"])
    >>> index = prepare(photos_of(folder), folder / "aligned", [plqlite.sface()])
    >>> index[["image", "identity"]].to_numpy().tolist()
    [['Ada/1.png', 'Ada']]
    """

    def load(path: Path) -> tuple[np.ndarray, Face]:
        photo = read(path)
        return photo, largest_face(photo)

    def make(image: str, loaded: tuple[np.ndarray, Face]) -> Made:
        photo, face = loaded
        row = {"image": image, "identity": identity_of(image), "source": photos[image].name}
        row |= zip(FACE, [*face.box, *face.landmarks.flatten()], strict=True)
        return row, {model.name: model.align(photo, face, model.size) for model in models}

    return build(folder, photos, INDEX, [model.name for model in models], load, make)


def build(
    folder: Path,
    sources: Mapping[str, Path],
    columns: Mapping[str, type],
    variants: Sequence[str],
    load: Callable[[Path], Loaded],
    make: Callable[[str, Loaded], Made],
) -> pd.DataFrame:
    """Make one or more images of each source, and an index with a row for each source.

    What is complete already stays as it is; in the index it stays even if it is not among the sources now.
    A source that cannot be loaded is listed in skipped.csv with the reason. It is tried again at the next
    call, unless it is not an image or shows no face.

    Parameters
    ----------
    folder : where to write folder/VARIANT/IMAGE, folder/index.csv and folder/skipped.csv
    sources : name of each image -> the file that it is made from
    columns : name and type of the index's columns, the last being the source's sha256
    variants : names of folders
    load : reads a source, and finds the face in it; whatever it raises is a reason to skip the source
    make : called with name and what was loaded; returns a row, and an image (H, W, 3) of uint8 for each
        variant; whatever it raises is a mistake in the program, and is raised

    Returns
    -------
    The index, in the order of the sources.

    Raises
    ------
    OSError, ValueError
        The folder cannot be written, or holds another index.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_png(folder / "ada.png", np.zeros((2, 2, 3), np.uint8))
    >>> def invert(name, photo):
    ...     return {"image": name}, {"inverted": 255 - photo}
    >>> columns = {"image": str, "sha256": str}
    >>> index = build(folder, {"a.png": folder / "ada.png"}, columns, ["inverted"], read_image, invert)
    >>> read_image(folder / "inverted" / "a.png").min()
    np.uint8(255)
    """
    tables = {folder / "index.csv": columns, folder / "skipped.csv": SKIPPED}
    index, skipped = tables
    complete, refused = _keys(open_table(index, columns)), _refused(open_table(skipped, SKIPPED))
    hashes: dict[str, str] = {}
    for name, path in tqdm(sources.items(), desc=folder.name, unit="image", disable=None):
        files = {variant: folder / variant / name for variant in variants}
        hashes[name] = _sha256(path)
        key = name, hashes[name]
        if key in refused or (key in complete and all(file.exists() for file in files.values())):
            continue
        try:
            loaded = load(path)
        except Exception as error:  # decoders raise anything, and one image must not end a run of thousands
            row = {"image": name, "error": type(error).__name__, "reason": str(error)}
            append_rows(skipped, SKIPPED, [row | {"sha256": hashes[name]}])
            continue
        row, images = make(name, loaded)
        for variant, file in files.items():
            write_png(file, images[variant])
        append_rows(index, columns, [row | {"sha256": hashes[name]}])  # last: a row means complete files
    return _tidy(tables, hashes)


def _sha256(path: Path) -> str:
    """Return the hash of a file; of one that cannot be read "", and loading it will say why."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _keys(table: pd.DataFrame) -> set[tuple[str, str]]:
    """Return what tells whether rows are up to date: the image of each, and what it was made from."""
    return set(zip(table["image"], table["sha256"], strict=True))


def _refused(skipped: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the keys of those sources that it is useless to try again."""
    return _keys(skipped[skipped["error"].isin(["NoFaceFound", "UnreadableImage"])])


def _tidy(tables: Mapping[Path, Mapping[str, type]], hashes: Mapping[str, str]) -> pd.DataFrame:
    """Write both tables again without rows that are out of date; return the index of the sources."""
    (index, skipped), (made, left) = tables, (_current(open_table(*each), hashes) for each in tables.items())
    write_table(index, made)
    write_table(skipped, left[~left["image"].isin(made["image"])])  # some succeeded at the second try
    return made[made["image"].isin(hashes)].reset_index(drop=True)


def _current(table: pd.DataFrame, hashes: Mapping[str, str]) -> pd.DataFrame:
    """Drop rows that are out of date or duplicates; put the others in the order of the sources."""
    table = table[table["image"].map(hashes).fillna(table["sha256"]) == table["sha256"]]
    table = table.drop_duplicates("image", keep="last")
    places = table["image"].map({image: place for place, image in enumerate(hashes)}).fillna(len(hashes))
    return table.loc[places.sort_values(kind="stable").index]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) of uint8; the file appears only when it is complete.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "Ada", "1.png")
    >>> write_png(path, np.zeros((4, 6, 3), np.uint8))
    >>> read_image(path).shape
    (4, 6, 3)
    """
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
    >>> import plqlite
    >>> aligned_faces(Path("nowhere"), plqlite.sface())
    Traceback (most recent call last):
    FileNotFoundError: nowhere holds no index.csv: write one with data_scripts/prepare_lfw.py.
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
