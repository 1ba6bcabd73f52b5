"""Align the frontal faces of ColorFERET, the data set of the paper's experiments.

    python data_scripts/prepare_colorferet.py FOLDER --out data/colorferet [--model NAME …]

ColorFERET is licensed: NIST gives it to researchers who apply for it and agree to its terms, see
https://www.nist.gov/itl/products-and-services/color-feret-database (in short: write to the address given
there, state your purpose, and follow the link in the answer). plqlite neither downloads it nor passes it on.

FOLDER is your own copy, as it comes: colorferet/dvd1/data/images/00001/00001_930831_fa_a.ppm.bz2, with dvd2
beside it; unpacked .ppm files are found, too. Only the poses fa and fb are used, which are frontal with two
expressions, at full size: smaller/ and thumbnails/ hold the same photos again, and are ignored.

Writes what prepare_lfw.py writes, into data/colorferet. NAME is as there. After an interruption run it again:
it resumes where it stopped.
"""

import bz2
import re
from pathlib import Path

import numpy as np

from plqlite.console import run
from plqlite.experiments.scripts import ScriptParser, prepare_and_report
from plqlite.faces import UnreadableImage, read_image

# Subject, date, pose, and a letter if there are several on one day: 00001_930831_fa_a.ppm.bz2
FRONTAL = re.compile(r"(?P<person>\d{5})_\d{6}_f[ab](_[a-z])?(?=\.ppm(\.bz2)?$)")


def frontal_photos(folder: Path) -> dict[str, Path]:
    """Find the frontal photos at full size: name of the crop to be made -> photo, sorted."""
    photos: dict[str, Path] = {}
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
    except (OSError, ValueError, UnreadableImage) as error:  # bz2: something else, or cut off
        raise UnreadableImage(f"{path.name} cannot be unpacked and read: {error}") from error


def main() -> None:
    """Check the copy, then align its frontal photos."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    arguments = parser.parse_args()
    photos = frontal_photos(arguments.folder)
    layout = "dvd1/data/images/00001/… as NIST gives it out; --help says how to apply for it"
    parser.refuse_no_photos(photos, arguments.folder, layout)
    prepare_and_report(photos, arguments.out, parser.load_models(arguments.model), read)


if __name__ == "__main__":
    run(main)
