"""Align the frontal faces of ColorFERET, the data set of the paper's experiments.

    python data_scripts/prepare_colorferet.py FOLDER --out data/colorferet [--model NAME …]

ColorFERET is licensed: NIST gives it to researchers who apply for it and agree to its terms, see
https://www.nist.gov/itl/products-and-services/color-feret-database (in short: write to the address named
there, state your purpose, and follow the link in the answer). plqlite neither downloads nor passes it on.

FOLDER is your own copy, as it comes: colorferet/dvd1/data/images/00001/00001_930831_fa_a.ppm.bz2, with dvd2
beside it; unpacked .ppm files are found, too. Used are the poses fa and fb, frontal with two expressions,
at full size: smaller/ and thumbnails/ hold the same photos again, and are left aside.

Writes what prepare_lfw.py writes, into data/colorferet. NAME is as there. Run it again after an
interruption: it goes on where it stopped.
"""

import argparse
import bz2
import re
from pathlib import Path

import numpy as np

from plqlite.dataset import prepare
from plqlite.faces import UnreadableImage, read_image
from plqlite.models import load_model

# Person, date, pose, and a letter where there are several of a day: 00001_930831_fa_a.ppm.bz2
FRONTAL = re.compile(r"(?P<person>\d{5})_\d{6}_f[ab](_[a-z])?(?=\.ppm(\.bz2)?$)")


def frontal_photos(folder: Path) -> dict[str, Path]:
    """Find the frontal photos at full size: name of the crop to be made -> photo, sorted."""
    photos = {}
    for path in sorted(folder.rglob("*.ppm*")):  # the unpacked file comes first
        match = FRONTAL.match(path.name)
        if match and not {"smaller", "thumbnails"} & set(path.relative_to(folder).parts):
            photos.setdefault(f"{match['person']}/{match[0]}.png", path)
    return dict(sorted(photos.items()))


def read(path: Path) -> np.ndarray:
    """Read a photo, packed or not."""
    if path.suffix != ".bz2":
        return read_image(path)
    try:
        return read_image(bz2.decompress(path.read_bytes()))
    except (OSError, ValueError, UnreadableImage) as error:  # bz2: of other bytes, cut off
        raise UnreadableImage(f"{path.name} cannot be unpacked and read: {error}") from error


def main() -> None:
    """Check the copy, then align its frontal photos."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    arguments = parser.parse_args()
    photos = frontal_photos(arguments.folder)
    if not photos:
        parser.error(
            f"no frontal photos below {arguments.folder}: it should hold dvd1/data/images/00001/… as NIST "
            "gives it out; --help says how to apply for it"
        )
    index = prepare(photos, arguments.out, [load_model(name) for name in arguments.model], read)
    print(f"{len(index)} faces of {index['identity'].nunique()} people in {arguments.out}", end=", ")
    print(f"{len(photos) - len(index)} photos skipped: see {arguments.out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
