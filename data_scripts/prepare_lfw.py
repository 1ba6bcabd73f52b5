"""Align the faces of LFW, Labeled Faces in the Wild, for one or more models.

    python data_scripts/prepare_lfw.py [FOLDER] --out data/lfw [--model NAME …]

FOLDER is a copy that you have already, or any other folder that holds PERSON/PHOTO. Without it,
scikit-learn downloads LFW (13,233 photos of 5,749 people, 180 MB, checked by its SHA-256) to
data/lfw/originals.

NAME is what the command line knows (default: sface and facenet), or the path of an .onnx file.
Writes a crop for each model, data/lfw/NAME/PERSON/PHOTO.png, and data/lfw/index.csv: image, identity,
source, box, landmarks, SHA-256 of the photo. Photos that cannot be used are listed in
data/lfw/skipped.csv with the reason. Run it again after an interruption: it goes on where it stopped.
"""

import argparse
import shutil
from pathlib import Path

from sklearn.datasets import fetch_lfw_people

from plqlite.dataset import photos_of, prepare
from plqlite.models import load_model


def download(folder: Path) -> Path:
    """Get LFW as it was published, not funneled: our own alignment needs the whole photos."""
    photos, done = folder / "lfw_home" / "lfw", folder / "complete"
    if not done.exists():
        shutil.rmtree(photos, ignore_errors=True)  # unpacking was interrupted: the loader would not see it
        fetch_lfw_people(data_home=folder, funneled=False, resize=0.1)  # small: we want the files alone
        done.touch()
    return photos


def main() -> None:
    """Get or check the photos, then align them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    arguments = parser.parse_args()
    try:
        folder = arguments.folder or download(arguments.out / "originals")
    except OSError as error:  # scikit-learn's too, for a checksum that is wrong
        parser.exit(1, f"LFW cannot be downloaded ({error}): give a folder that you have already.\n")
    if arguments.out.resolve().is_relative_to(folder.resolve()):
        parser.error(f"--out {arguments.out} lies in {folder}, and crops would be taken for photos")
    photos = photos_of(folder)
    if not photos:
        parser.error(f"no photos below {folder}: it should hold PERSON/PHOTO.jpg")
    index = prepare(photos, arguments.out, [load_model(name) for name in arguments.model])
    print(f"{len(index)} faces of {index['identity'].nunique()} people in {arguments.out}", end=", ")
    print(f"{len(photos) - len(index)} photos skipped: see {arguments.out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
