"""Align the faces of VGGFace2, the data set of the paper's inpainting experiment (§4.1, §5.1).

    python data_scripts/prepare_vggface2.py FOLDER --out data/vggface2 [--model NAME …] [--per-person 5]

VGGFace2 is licensed for research (Cao et al., arXiv 1710.08092), and its authors no longer give it out
themselves: ask them, or take the copy that your institute has. plqlite neither downloads nor passes it on.

FOLDER is your own copy, or a part of it: …/n000001/0001_01.jpg; give the folder test to leave out the people
that networks were trained on. It has 340 photos of each person: --per-person takes the first so many
(default: all).

Writes what prepare_lfw.py writes, into data/vggface2. NAME is as there. Run it again after an interruption:
it goes on where it stopped.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

from plqlite.dataset import prepare
from plqlite.models import load_model


def photos_of_vggface2(folder: Path, per_person: int | None = None) -> dict[str, Path]:
    """Find the photos: name of the crop to be made -> photo, sorted."""
    people = defaultdict(dict)
    for path in sorted(folder.rglob("*.jpg")):
        if re.fullmatch(r"n\d{6}", path.parent.name):
            people[path.parent.name].setdefault(path.stem, path)
    return {
        f"{person}/{photo}.png": path
        for person, photos in sorted(people.items())
        for photo, path in list(photos.items())[:per_person]
    }


def main() -> None:
    """Check the copy, then align its faces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    parser.add_argument("--per-person", type=int)
    arguments = parser.parse_args()
    if arguments.per_person is not None and arguments.per_person < 1:
        parser.error(f"--per-person {arguments.per_person}: take at least one photo of each")
    photos = photos_of_vggface2(arguments.folder, arguments.per_person)
    if not photos:
        parser.error(
            f"no faces below {arguments.folder}: it should hold n000001/0001_01.jpg as VGGFace2 comes; "
            "--help says how to get it"
        )
    index = prepare(photos, arguments.out, [load_model(name) for name in arguments.model])
    print(f"{len(index)} faces of {index['identity'].nunique()} people in {arguments.out}", end=", ")
    print(f"{len(photos) - len(index)} photos skipped: see {arguments.out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
