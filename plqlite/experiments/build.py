"""Images that are made one by one from others, with an index, so that an interruption loses nothing."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from plqlite.experiments.tables import append_rows, open_table, write_table
from plqlite.files import require_file, sha256, write_aside
from plqlite.locks import locked, remove_unfinished

SKIPPED: dict[str, type] = {"image": str, "error": str, "reason": str, "sha256": str}

Loaded = TypeVar("Loaded")  # what is read of a source
Made = tuple[dict, Mapping[str, np.ndarray]]  # a row of the index, and an image (H, W, 3) for each variant


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
    >>> from plqlite.faces import read_image
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
    with locked(index):
        remove_unfinished(folder)
        complete, refused = keys_of(open_table(index, columns)), _refused(open_table(skipped, SKIPPED))
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
            except Exception as error:  # decoders raise anything, and one image must not end a long run
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


def keys_of(table: pd.DataFrame) -> set[tuple[str, str]]:
    """Return what tells whether rows are up to date: the image of each, and the hash of its source.

    Examples
    --------
    >>> keys_of(pd.DataFrame({"image": ["a.png"], "sha256": ["e3b0"]}))
    {('a.png', 'e3b0')}
    """
    return set(zip(table["image"], table["sha256"], strict=True))


def _refused(skipped: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the keys of those sources that it is useless to try again."""
    return keys_of(skipped[skipped["error"].isin(["NoFaceFound", "UnreadableImage"])])


def _tidy(tables: Mapping[Path, Mapping[str, type]], hashes: Mapping[str, str]) -> pd.DataFrame:
    """Write both tables again without rows that are out of date; return the index of the sources."""
    (index, skipped), (made, left) = tables, (_current(open_table(*each), hashes) for each in tables.items())
    write_table(index, made)
    write_table(skipped, left[~left["image"].isin(made["image"])])  # some succeeded at the second try
    return made[made["image"].isin(hashes)].reset_index(drop=True)


def _current(table: pd.DataFrame, hashes: Mapping[str, str]) -> pd.DataFrame:
    """Drop rows that are out of date or duplicates; put the others in the order of the sources."""
    current = [hashes.get(image, digest) == digest for image, digest in table[["image", "sha256"]].to_numpy()]
    table = table[np.array(current, dtype=bool)].drop_duplicates("image", keep="last")
    places = table["image"].map({image: place for place, image in enumerate(hashes)}).fillna(len(hashes))
    return table.loc[places.sort_values(kind="stable").index]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) of uint8; the file appears only when it is complete.

    Examples
    --------
    >>> import tempfile
    >>> from plqlite.faces import read_image
    >>> path = Path(tempfile.mkdtemp(), "Ada", "1.png")
    >>> write_png(path, np.zeros((4, 6, 3), np.uint8))
    >>> read_image(path).shape
    (4, 6, 3)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: Image.fromarray(image).save(file, format="png"))
