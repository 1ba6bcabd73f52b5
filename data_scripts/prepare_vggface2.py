"""Align the faces of VGGFace2, the data set of the paper's inpainting experiment (§4.1, §5.1).

    python data_scripts/prepare_vggface2.py FOLDER --out data/vggface2 [--model NAME …] [--per-person 5]

VGGFace2 is licensed for research (Cao et al., arXiv 1710.08092), and its authors no longer distribute it
themselves: ask them, or use the copy that your institute has. plqlite neither downloads it nor passes it on.

FOLDER is your own copy, or a part of it: …/n000001/0001_01.jpg; give the folder test to leave out the people
that networks were trained on. It has 340 photos of each person: --per-person takes the first so many
(default: all).

Writes what prepare_lfw.py writes, into data/vggface2. NAME is as there. After an interruption run it again:
it resumes where it stopped.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

from plqlite.console import run
from plqlite.experiments.scripts import ScriptParser, prepare_and_report


def photos_of_vggface2(folder: Path, per_person: int | None = None) -> dict[str, Path]:
    """Find the photos: name of the crop to be made -> photo, sorted."""
    people: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.rglob("*.jpg")):
        if re.fullmatch(r"n\d{6}", path.parent.name):
            people[path.parent.name].setdefault(path.stem, path)
    return {
        f"{person}/{photo}.png": path
        for person, photos in sorted(people.items())
        for photo, path in list(photos.items())[:per_person]
    }


def at_least_one(text: str) -> int:
    """Read a number of photos."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"take at least one photo of each person, found {number}")
    return number


def main() -> None:
    """Check the copy, then align its faces."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_models()
    parser.add_argument("--per-person", type=at_least_one)
    arguments = parser.parse_args()
    photos = photos_of_vggface2(arguments.folder, arguments.per_person)
    layout = "n000001/0001_01.jpg as VGGFace2 comes; --help says how to get it"
    parser.refuse_no_photos(photos, arguments.folder, layout)
    prepare_and_report(photos, arguments.out, parser.load_models(arguments.model))


if __name__ == "__main__":
    run(main)
