"""Data sets on disk: images of faces in a folder for each variant, and one index.csv."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from plqlite.experiments.build import Made, build, inside
from plqlite.experiments.tables import escaped, read_table
from plqlite.faces import FACE_COLUMNS, PHOTO_SUFFIXES, Face, largest_face, read_image
from plqlite.files import write_text
from plqlite.networks.model import FaceModel

INDEX: dict[str, type] = {
    **{"image": str, "identity": str, "source": str},
    **dict.fromkeys(FACE_COLUMNS, float),
    **{"sha256": str},
}


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
    name = escaped(path.relative_to(folder).as_posix())
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
    >>> from plqlite.experiments.build import write_png
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
        row |= zip(FACE_COLUMNS, [*face.box, *face.landmarks.flatten()], strict=True)
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
        write_text(folder / "models.json", text)


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
