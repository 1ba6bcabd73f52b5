"""Align the faces of Adience, the data set that the paper fitted its constants on (§4.2, Fig. 11).

    python data_scripts/prepare_adience.py FOLDER --out data/adience [--model NAME …]

Adience is licensed: the Open University of Israel gives it to those who register and agree to its terms, see
https://talhassner.github.io/home/projects/Adience/Adience-data.html. plqlite neither downloads it nor passes
it on.

FOLDER is your own copy, with faces/USER/coarse_tilt_aligned_face.FACE.PHOTO.jpg as in faces.tar.gz
(aligned/ holds the same faces again, rotated by its authors, and is ignored). Each FACE of a USER counts as
one subject.

Writes what prepare_lfw.py writes, into data/adience. NAME is as there. For the constants and the panels of
Fig. 11 run  python data_scripts/calibrate.py FOLDER/faces --out adience.json
"""

import re
from pathlib import Path

from plqlite.console import run
from plqlite.experiments.scripts import ScriptParser, prepare_and_report

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
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    arguments = parser.parse_args()
    photos = photos_of_adience(arguments.folder)
    layout = "faces/USER/coarse_tilt_aligned_face.….jpg as Adience comes; --help says where to apply for it"
    parser.refuse_no_photos(photos, arguments.folder, layout)
    prepare_and_report(photos, arguments.out, parser.load_models(arguments.model))


if __name__ == "__main__":
    run(main)
