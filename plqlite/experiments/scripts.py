"""What the programs in data_scripts share: their command lines, what they refuse, and how they find faces."""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import torch

from plqlite.console import printable
from plqlite.experiments.dataset import aligned_faces, find_photos, name_in, photos_of, prepare
from plqlite.experiments.tables import open_table
from plqlite.experiments.versions import listed_faces
from plqlite.faces import largest_face, read_image
from plqlite.locks import locked
from plqlite.networks.model import FaceModel
from plqlite.networks.zoo import load_model

torch.backends.cudnn.allow_tf32 = False  # rival maps compute gradients themselves: see `full_precision`


class ScriptParser(argparse.ArgumentParser):
    """The command line of a data script: the arguments and the refusals that several of them share.

    Each refusal prints one line and ends the program with exit status 2, as other bad arguments do.

    Parameters
    ----------
    description : the script's docstring, which --help prints as it stands

    Examples
    --------
    >>> parser = ScriptParser("Count the photos.")
    >>> parser.add_seed()
    >>> parser.parse_args(["--seed", "3"]).seed
    3
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_folder(self, nargs: str | None = None) -> None:
        """Add FOLDER, which is read."""
        self.add_argument("folder", type=Path, nargs=nargs)

    def add_out(self) -> None:
        """Add --out, which is written: never the working directory unless it is named."""
        self.add_argument("--out", type=Path, required=True)

    def add_models(self) -> None:
        """Add --model for one or more models."""
        self.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")

    def add_model(self) -> None:
        """Add --model for one model."""
        self.add_argument("--model", default="sface", metavar="NAME")

    def add_seed(self) -> None:
        """Add --seed."""
        self.add_argument("--seed", type=_seed, default=0)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments in one line."""
        super().error(printable(message))

    def load_models(self, names: Sequence[str]) -> list[FaceModel]:
        """Build models by name, or refuse a name that is not one."""
        try:
            return [load_model(name) for name in names]
        except (OSError, ValueError) as error:
            self.error(str(error))

    def add_faces(self) -> None:
        """Add --faces, a list of what the photos show."""
        self.add_argument("--faces", type=Path, metavar="LIST.csv")

    def photos_and_faces(self, folder: Path, listing: Path | None) -> tuple[dict[str, Path], pd.DataFrame]:
        """Find the photos below a folder, name -> photo, and what the list says of them; or refuse them."""
        photos = {name_in(folder, path): path for path in sorted(find_photos(folder))}
        self.refuse_no_photos(photos, folder, "photos of faces")
        try:
            faces = listed_faces(photos, listing)
        except (OSError, ValueError) as error:
            self.error(str(error))
        return {image: photos[image] for image in faces["image"]}, faces

    def refuse_no_photos(self, photos: Collection, folder: Path, layout: str) -> None:
        """Refuse a folder without photos; the layout says what it should hold."""
        if not photos:
            self.error(f"no photos below {folder}: it should hold {layout}")

    def refuse_same_names(self, *files: Path | None) -> None:
        """Refuse to write one file in place of another."""
        named = [os.path.realpath(file) for file in files if file is not None]
        if len(set(named)) < len(named):
            names = ", ".join(str(file) for file in files if file is not None)
            self.error(f"two of the files {names} have one name: choose another --out")

    def refuse_out_inside(self, out: Path, folder: Path) -> None:
        """Refuse to write into the folder that is read."""
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
            self.error(f"--out {out} is inside {folder}, so crops would be taken for photos: choose another")

    def refuse_other_setup(
        self, out: Path, columns: Mapping[str, type], expected: Mapping[str, object]
    ) -> None:
        """Refuse to add to a data set that was made with other options."""
        with locked(out / "index.csv"):
            index = open_table(out / "index.csv", columns)
        for name, value in expected.items():
            if not index[name].isin([value]).all():
                self.error(f"{out} was made with another {name} than {value}: choose another --out")


def about(script: str, *paths: Path) -> dict:
    """Return what a reader of results has to know: command, versions, date; of paths only the names.

    Examples
    --------
    >>> list(about("docs/measure_claims.py"))
    ['command', 'versions', 'date']
    """
    given = [Path(each).name if each in map(str, paths) else each for each in sys.argv[1:]]
    packages = ("plqlite", "torch", "numpy", "scipy", "scikit-learn", "scikit-image", "facenet-pytorch")
    return {
        "command": " ".join(["python", script, *given]),  # no path of this machine
        "versions": {each: version(each) for each in packages} | {"python": platform.python_version()},
        "date": str(datetime.date.today()),
    }


def _seed(text: str) -> int:
    """Read a seed."""
    if (seed := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"a seed is 0 or more, found {seed}")
    return seed


def load_largest_face(photo: Path, model: FaceModel) -> torch.Tensor:
    """Read a photo and align its largest face, as `load_face` does but without a warning if there are more.

    Parameters
    ----------
    photo : path of an image file
    model : its size and its alignment decide

    Returns
    -------
    (1, 3, size, size) float RGB 0..255 on the model's device.

    Raises
    ------
    NoFaceFound
        The detector finds no face.
    FileNotFoundError, IsADirectoryError, UnreadableImage
        See `plqlite.faces.read_image`.
    """
    image = read_image(photo)
    return model.crop(image, largest_face(image))[None]


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder was written by a prepare script; if not, it holds photos.

    Examples
    --------
    >>> is_prepared(Path("nowhere"))
    False
    """
    return (folder / "index.csv").exists()


def faces_in(folder: Path, model: FaceModel, out: Path) -> dict[str, Path]:
    """Find the crops in a prepared folder; if the folder holds photos, align these first, into out/aligned.

    Parameters
    ----------
    folder : what a prepare script has written, or PERSON/PHOTO
    model : one that the folder was prepared for, if it was
    out : where to write

    Returns
    -------
    See `aligned_faces`.

    Raises
    ------
    FileNotFoundError
        See `aligned_faces`.
    """
    if not is_prepared(folder):
        prepare(photos_of(folder), out / "aligned", [model])
        folder = out / "aligned"
    return aligned_faces(folder, model)


def prepare_and_report(
    photos: Mapping[str, Path],
    out: Path,
    models: Sequence[FaceModel],
    read: Callable[[Path], np.ndarray] = read_image,
) -> None:
    """Run `prepare`, and print how many faces there are."""
    index = prepare(photos, out, models, read)
    faces = f"{len(index)} faces of {index['identity'].nunique()} subjects in {out}"
    print(f"{faces}, {len(photos) - len(index)} photos skipped: see {out / 'skipped.csv'}")
