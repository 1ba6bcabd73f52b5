"""Cover squares of aligned faces at random (§4.1): the random-mask set.

    python data_scripts/make_random_masks.py FOLDER --out data/lfw_masks [--model NAME] [--seed 0]

FOLDER is what a prepare script has written, or a folder that holds PERSON/PHOTO, whose faces are aligned
first, into data/lfw_masks/aligned. NAME is a model that the faces were prepared for (default: sface).

Makes five images of each face, with a black square of 10, 20, 30, 40 and 50 pixels (at 112 pixels; scaled for
other sizes) somewhere in its inner 90 %. The place depends only on the seed, the size and the image's name,
and is that of plqlite/experiments/masks.py with the same seed. Writes
data/lfw_masks/masked/s10/PERSON/PHOTO.png … and data/lfw_masks/index.csv: image, identity, model, size, seed,
top, left, side, SHA-256 of the crop. After an interruption run it again: it resumes where it stopped.
"""

from pathlib import Path

import pandas as pd
import torch

import plqlite
from plqlite.console import run
from plqlite.experiments.build import Made, build
from plqlite.experiments.dataset import identity_of, photos_of
from plqlite.experiments.inpainters import to_array
from plqlite.experiments.masks import SIZES, place_generator, random_mask, scaled_size
from plqlite.experiments.scripts import ScriptParser, faces_in, is_prepared

COLUMNS: dict[str, type] = {
    **{"image": str, "identity": str, "model": str},
    **dict.fromkeys(("size", "seed", "top", "left", "side"), int),
    **{"sha256": str},
}


def make_masks(model: plqlite.FaceModel, faces: dict[str, Path], folder: Path, seed: int) -> pd.DataFrame:
    """Write the set, and return its index."""

    def load(crop: Path) -> torch.Tensor:
        return plqlite.load_face(crop, model, aligned=True)[0]  # (3, H, W)

    def make(image: str, face: torch.Tensor) -> Made:
        variant, name = image.split("/", 1)
        size = int(variant[1:])  # s10 -> 10
        side = scaled_size(size, model.size)
        masked, mask = random_mask(face, side, place_generator(seed, size, name))
        top, left = mask.nonzero()[0].tolist()
        names = {"image": image, "identity": identity_of(name), "model": model.label}
        square = {"size": size, "seed": seed, "top": top, "left": left, "side": side}
        return names | square, {"masked": to_array(masked)}

    sources = {f"s{size}/{name}": crop for name, crop in faces.items() for size in SIZES}
    return build(folder, sources, COLUMNS, ["masked"], load, make)


def main() -> None:
    """Align the faces if that has not been done, then cover them."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_model()
    parser.add_seed()
    arguments = parser.parse_args()
    folder, out, seed = arguments.folder, arguments.out, arguments.seed
    (model,) = parser.load_models([arguments.model])
    if not is_prepared(folder):
        parser.refuse_no_photos(photos_of(folder), folder, "PERSON/PHOTO.jpg, or an index.csv")
        parser.refuse_out_inside(out, folder)
    parser.refuse_other_setup(out, COLUMNS, {"model": model.label, "seed": seed})
    index = make_masks(model, faces_in(folder, model, out), out, seed)
    skipped = len(pd.read_csv(out / "skipped.csv"))
    print(f"{len(index)} images in {out}, {skipped} skipped: see {out / 'skipped.csv'}")


if __name__ == "__main__":
    run(main)
