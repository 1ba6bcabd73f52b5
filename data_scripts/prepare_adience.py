"""Align the faces of Adience, the data set that the paper fitted its constants on (§4.2, Fig. 11).

    python data_scripts/prepare_adience.py FOLDER --out data/adience [--model NAME …]

Adience is licensed: the Open University of Israel gives it to those who register and agree to its terms, see
https://talhassner.github.io/home/projects/Adience/Adience-data.html. plqlite neither downloads nor passes it
on.

FOLDER is your own copy, with faces/USER/coarse_tilt_aligned_face.FACE.PHOTO.jpg as it comes out of
faces.tar.gz (aligned/ holds the same faces again, turned by its authors, and is left aside). A person is a
FACE of a USER.

Writes what prepare_lfw.py writes, into data/adience. NAME is as there. For the constants and the panels of
Fig. 11 run  python data_scripts/calibrate.py FOLDER/faces --out adience.json
"""

import argparse
import re
from pathlib import Path

from plqlite.dataset import prepare
from plqlite.models import load_model

PHOTO = re.compile(r"coarse_tilt_aligned_face\.(?P<face>\d+)\.(?P<photo>.+)\.jpg")


def photos_of_adience(folder: Path) -> dict[str, Path]:
    """Find the photos: name of the crop to be made -> photo, sorted."""
    photos = {}
    for path in sorted(folder.rglob("coarse_tilt_aligned_face.*.jpg")):
        if match := PHOTO.fullmatch(path.name):
            photos[f"{path.parent.name}_{match['face']}/{match['photo']}.png"] = path
    return photos


def main() -> None:
    """Check the copy, then align its faces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    arguments = parser.parse_args()
    photos = photos_of_adience(arguments.folder)
    if not photos:
        parser.error(
            f"no faces below {arguments.folder}: it should hold faces/USER/coarse_tilt_aligned_face.….jpg as "
            "Adience comes; --help says where to apply for it"
        )
    index = prepare(photos, arguments.out, [load_model(name) for name in arguments.model])
    print(f"{len(index)} faces of {index['identity'].nunique()} people in {arguments.out}", end=", ")
    print(f"{len(photos) - len(index)} photos skipped: see {arguments.out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
