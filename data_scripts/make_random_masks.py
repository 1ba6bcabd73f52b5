"""Cover squares of aligned faces at random (§4.1): the random-mask set.

    python data_scripts/make_random_masks.py FOLDER --out data/lfw_masks [--model NAME] [--seed 0]

FOLDER is what a prepare script has written, or a folder that holds PERSON/PHOTO, whose faces are first
aligned, into data/lfw_masks/aligned. NAME is a model that the faces were prepared for (default: sface).

Of each face five images, with a black square of 10, 20, 30, 40 and 50 pixels (at 112, scaled for other
sizes), its place drawn in the inner 90 %. The place depends on seed, size and the image's name alone, and
is that of plqlite/experiment.py with the same seed. Writes data/lfw_masks/masked/s10/PERSON/PHOTO.png …
and data/lfw_masks/index.csv: image, identity, model, size, seed, top, left, side, SHA-256 of the crop. Run
it again after an interruption: it goes on where it stopped.
"""

import argparse
from pathlib import Path

import pandas as pd

import plqlite
from plqlite.dataset import Made, aligned_faces, build, identity_of, photos_of, prepare
from plqlite.disturb import SIZES, place_generator, random_mask, scaled_size
from plqlite.models import load_model
from plqlite.tables import open_table

WHOLE = ("size", "seed", "top", "left", "side")
COLUMNS = {"image": str, "identity": str, "model": str} | dict.fromkeys(WHOLE, int) | {"sha256": str}


def make_masks(model: plqlite.FaceModel, faces: dict[str, Path], folder: Path, seed: int) -> pd.DataFrame:
    """Write the set, and return its index."""

    def make(image: str, crop: Path) -> Made:
        variant, name = image.split("/", 1)
        size = int(variant[1:])  # s10 -> 10
        side = scaled_size(size, model.size)
        face = plqlite.load_face(crop, model, aligned=True)[0]  # (3, H, W)
        masked, mask = random_mask(face, side, place_generator(seed, size, name))
        top, left = mask.nonzero()[0].tolist()
        row = {"image": image, "identity": identity_of(name), "model": model.name}
        row |= {"size": size, "seed": seed, "top": top, "left": left, "side": side}
        return row, {"masked": masked.byte().permute(1, 2, 0).cpu().numpy()}

    sources = {f"s{size}/{name}": crop for name, crop in faces.items() for size in SIZES}
    return build(folder, sources, COLUMNS, ["masked"], make)


def main() -> None:
    """Align the faces if that has not been done, then cover them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="sface", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model, folder = load_model(arguments.model), arguments.folder
    prepared = (folder / "index.csv").exists()
    photos = {} if prepared else photos_of(folder)
    if arguments.seed < 0:
        parser.error(f"--seed {arguments.seed}: a seed is 0 or more")
    if not prepared and not photos:
        parser.error(f"neither an index.csv nor photos in {folder}: it should hold PERSON/PHOTO.jpg")
    if not prepared and arguments.out.resolve().is_relative_to(folder.resolve()):
        parser.error(f"--out {arguments.out} lies in {folder}, and crops would be taken for photos")
    before = open_table(arguments.out / "index.csv", COLUMNS)
    for name, wanted in (("model", model.name), ("seed", arguments.seed)):
        if not before[name].isin([wanted]).all():
            parser.error(f"{arguments.out} was made with another {name} than {wanted}: choose another --out")
    if not prepared:
        folder = arguments.out / "aligned"
        prepare(photos, folder, [model])
    index = make_masks(model, aligned_faces(folder, model), arguments.out, arguments.seed)
    skipped = len(pd.read_csv(arguments.out / "skipped.csv"))
    print(f"{len(index)} images in {arguments.out}, {skipped} skipped: see {arguments.out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
