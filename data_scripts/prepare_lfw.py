"""Align the faces of LFW, Labeled Faces in the Wild, for one or more models.

    python data_scripts/prepare_lfw.py [FOLDER] --out data/lfw [--model NAME …]

FOLDER is a copy that you already have, or any other folder that holds PERSON/PHOTO. Without it,
scikit-learn downloads LFW (13,233 photos of 5,749 people, 180 MB, verified by its SHA-256) to
data/lfw/originals.

NAME is one that the command line of plqlite knows (default: sface and facenet), or the path of an .onnx file.
Writes a crop for each model, data/lfw/NAME/PERSON/PHOTO.png, and data/lfw/index.csv: image, identity,
source, box, landmarks, SHA-256 of the photo. Photos that cannot be used are listed in
data/lfw/skipped.csv with the reason. After an interruption run it again: it resumes where it stopped.
"""

import shutil
from pathlib import Path

from sklearn.datasets import fetch_lfw_people

from plqlite.console import run
from plqlite.experiments.dataset import photos_of
from plqlite.experiments.scripts import ScriptParser, prepare_and_report
from plqlite.locks import locked


def download(folder: Path) -> Path:
    """Get LFW as it was published, not funneled: our own alignment needs the whole photos."""
    photos, done = folder / "lfw_home" / "lfw", folder / "complete"
    with locked(done):
        if not done.exists():
            shutil.rmtree(photos, ignore_errors=True)  # the loader would not notice an interrupted unpacking
            fetch_lfw_people(data_home=folder, funneled=False, resize=0.1)  # small: we only want the files
            done.touch()
    return photos


def main() -> None:
    """Get or find the photos, then align them."""
    parser = ScriptParser(__doc__)
    parser.add_folder(nargs="?")
    parser.add_out()
    parser.add_models()
    arguments = parser.parse_args()
    try:
        folder = arguments.folder or download(arguments.out / "originals")
    except OSError as error:  # also what scikit-learn raises for a wrong checksum
        parser.exit(1, f"LFW cannot be downloaded ({error}): give a folder that you already have.\n")
    parser.refuse_out_inside(arguments.out, folder)
    photos = photos_of(folder)
    parser.refuse_no_photos(photos, folder, "PERSON/PHOTO.jpg")
    prepare_and_report(photos, arguments.out, parser.load_models(arguments.model))


if __name__ == "__main__":
    run(main)
