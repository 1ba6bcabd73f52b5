"""Data sets on disk: images of faces in a folder for each variant, and one index.csv."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from plqlite.experiments.tables import append_rows, locked, open_table, read_table, write_table
from plqlite.faces import PHOTO_SUFFIXES, Face, largest_face, read_image
from plqlite.files import PART, require_file, sha256, write_aside
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
        source = name_in(folder, path)
        name = str(Path(source).with_suffix(".png"))
        photos[source + ".png" if name in photos else name] = path
    return photos


def name_in(folder: Path, path: Path) -> str:
    r"""Return the name of a file below a folder as a table can hold it: UTF-8, in one line.

    Examples
    --------
    >>> name_in(Path("lfw"), Path("lfw", "Ada", "two\nlines.jpg"))
    'Ada/two lines.jpg'
    """
    name = path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
    return re.sub(r"[\r\n]+", " ", name)


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
    Resumes where it was interrupted. folder/models.json says how each model's crops are made.

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
        The folder cannot be written, or holds another data set, or crops for another model of the same name;
        two of the models have one name.

    Examples
    --------
    >>> import plqlite, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_png(folder / "Ada" / "1.png", plqlite.sample_faces()["astronaut"])
    >>> index = prepare(photos_of(folder), folder / "aligned", [plqlite.sface()])
    >>> index[["image", "identity"]].to_numpy().tolist()
    [['Ada/1.png', 'Ada']]
    """
    _declare_crops(folder, models)

    def load(path: Path) -> tuple[np.ndarray, Face]:
        photo = read(path)
        return photo, largest_face(photo)

    def make(image: str, loaded: tuple[np.ndarray, Face]) -> Made:
        photo, face = loaded
        row = {"image": image, "identity": identity_of(image), "source": photos[image].name}
        row |= zip(FACE, [*face.box, *face.landmarks.flatten()], strict=True)
        return row, {model.name: model.align(photo, face, model.size) for model in models}

    return build(folder, photos, INDEX, [model.name for model in models], load, make)


def _declare_crops(folder: Path, models: Sequence[FaceModel]) -> None:
    """Write into folder/models.json how the crops of some models are made."""
    made = {model.name: _crop_of(model) for model in models}
    if len(made) < len(models):
        names = ", ".join(model.name for model in models)
        raise ValueError(f"Two of {names} have one name, and would share a folder: rename a file.")
    for model in models:
        _check_crops(folder, model)
    folder.mkdir(parents=True, exist_ok=True)
    if (known := _declared(folder)) != known | made:
        text = json.dumps(known | made, indent=1)
        write_aside(folder / "models.json", lambda file: file.write(text.encode()))


def _crop_of(model: FaceModel) -> dict:
    """Return what a crop depends on besides the photo."""
    return {"size": model.size, "align": model.align.name}


def _declared(folder: Path) -> dict:
    """Return how the crops in a folder were made, name of the model -> see `_crop_of`."""
    path = folder / "models.json"
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it.") from error


def _check_crops(folder: Path, model: FaceModel) -> None:
    """Refuse a folder whose crops were made for another model of the same name."""
    made = _declared(folder).get(model.name, _crop_of(model))
    if made != _crop_of(model):
        raise ValueError(
            f"{folder / model.name} holds crops for another model of that name ({made}): rename the model's "
            "file, or take another folder."
        )


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
    with locked(folder / "index.csv"):
        for left in folder.rglob(f".*{PART}"):  # by a run that was killed
            left.unlink(missing_ok=True)
        return _build(folder, sources, columns, variants, load, make)


def _build(
    folder: Path,
    sources: Mapping[str, Path],
    columns: Mapping[str, type],
    variants: Sequence[str],
    load: Callable[[Path], Loaded],
    make: Callable[[str, Loaded], Made],
) -> pd.DataFrame:
    """Do what `build` does, in a folder that nobody else writes."""
    tables = {folder / "index.csv": columns, folder / "skipped.csv": SKIPPED}
    index, skipped = tables
    complete, refused = _keys(open_table(index, columns)), _refused(open_table(skipped, SKIPPED))
    hashes: dict[str, str] = {}
    for name, path in tqdm(sources.items(), desc=folder.name, unit="image", disable=None):
        files = {variant: inside(folder / variant, name) for variant in variants}
        hashes[name] = hash_of(path)
        key = name, hashes[name]
        if key in refused or (key in complete and all(file.exists() for file in files.values())):
            continue
        try:
            require_short(name)
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


def inside(folder: Path, name: str) -> Path:
    """Return where an image is by its name in an index: below the folder, and nowhere else.

    Raises
    ------
    ValueError
        The name is absolute, or leaves the folder.

    Examples
    --------
    >>> inside(Path("lfw"), "Ada/1.png").as_posix()
    'lfw/Ada/1.png'
    >>> inside(Path("lfw"), "../1.png")
    Traceback (most recent call last):
    ValueError: An index names '../1.png', which is not below lfw: correct or delete it.
    """
    path = Path(name)
    if path.anchor or ".." in path.parts or not path.name or "\0" in name:
        raise ValueError(f"An index names {name!r}, which is not below {folder}: correct or delete it.")
    return folder / name


def require_short(name: str) -> None:
    """Refuse a name that no file can have, with a ValueError.

    Examples
    --------
    >>> require_short("Ada/1.png")
    """
    longest = max(len(os.fsencode(part)) for part in Path(name).parts)
    if longest > 255:
        raise ValueError(f"A name of {longest} bytes is too long for a file (255): rename the photo.")


def hash_of(photo: Path) -> str:
    """Return the SHA-256 of a photo; of one that cannot be read "", and loading it will say why.

    Examples
    --------
    >>> hash_of(Path("nowhere.jpg"))
    ''
    """
    try:
        require_file(photo)
        return sha256(photo)
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
    ValueError
        The index names files outside the folder, or the crops are those of another model of the same name.

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
    images = read_table(folder / "index.csv", INDEX)["image"]
    _check_crops(folder, model)
    crops = {image: inside(folder / model.name, image) for image in images}
    missing = sum(not crop.exists() for crop in crops.values())
    if missing:
        raise FileNotFoundError(
            f"{missing} of {len(crops)} crops for {model.name} are missing in {folder}: run the script that "
            f"prepared it again, with --model {model.name}."
        )
    return crops
