"""Find the unusually low region of each face, and inpaint it (§4.1, Fig. 2): the pre- and inpainted set.

    python data_scripts/make_inpainted.py FOLDER --out data/inpainted [--model NAME] [--inpainter NAME]
                                          [--occlude [KIND …]] [--seed 0]

FOLDER is what a prepare script has written (LFW, VGGFace2, Adience, …), or a folder that holds PERSON/PHOTO,
or `sample` for the sample faces that come with the dependencies. --model is one that the faces were prepared
for (default: sface). --inpainter is mirror, telea, navier_stokes, biharmonic, lama, or average: mirror, and
the average of the sample faces where both halves are low (the default, except for the sample faces).

--occlude first puts something in front of each face, one image for each kind (default: all of them, see
plqlite/experiments/occluders.py): then the ground-truth mask is known. It needs the photos themselves, not
prepared crops.

Writes data/inpainted/original/PERSON/PHOTO.png, mask/… (what was found, white), inpainted/…, with --occlude
also true_mask/…, and index.csv: for each image the score of the region (empty: none was found), its area, its
IoU with the ground-truth mask, Q before and after in the closed form and sampled with ten seeds, their noise,
and Q after the controls (see plqlite/experiments/inpainting.py). Prints how often Q went up or down by more
than the noise. After an interruption run it again: it resumes where it stopped.
"""

import argparse
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.console import run
from plqlite.experiments.build import Made, build, write_png
from plqlite.experiments.dataset import identity_of, photos_of
from plqlite.experiments.inpainters import INPAINTERS, Inpainter, average_face, to_array
from plqlite.experiments.inpainting import PLACES, inpaint_low_region, inpainting_rows, verdict
from plqlite.experiments.occluders import OCCLUDERS, occlude
from plqlite.experiments.scripts import ScriptParser, faces_in, is_prepared
from plqlite.experiments.statistics import share_positive
from plqlite.faces import Face, largest_face, mask_to_rgb, read_image

TEXTS = ("image", "identity", "kind", "model", "inpainter")
NUMBERS = ("score", "area", "iou", "quality", "low", "random", "high", "sampled", "sampled_low", "noise")
COLUMNS: dict[str, type] = {
    **dict.fromkeys(TEXTS, str),
    **{"seed": int},
    **dict.fromkeys(NUMBERS, float),
    **{"sha256": str},
}


@lru_cache(maxsize=1)  # the same photo is loaded once for each occluder
def load_photo(path: Path) -> tuple[np.ndarray, Face]:
    """Read a photo and find its largest face."""
    photo = read_image(path)
    return photo, largest_face(photo)


def occluded_crop(
    model: plqlite.FaceModel, loaded: tuple[np.ndarray, Face], kind: str, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Occlude a photo, and align it (3, H, W) and the ground-truth mask (H, W) as the photo itself."""
    photo, face = loaded
    covered, mask = occlude(photo, face.landmarks, kind, seed)
    return model.crop(covered, face), model.crop_mask(mask, face)


def picture(image: torch.Tensor) -> np.ndarray:
    """Turn an image (3, H, W) in 0..255, or a mask (H, W) of bool, into (H, W, 3) of uint8."""
    if image.dtype == torch.bool:
        return mask_to_rgb(image.cpu().numpy())
    return to_array(image.floor())  # not rounded, as in the sets of earlier versions


def maker(
    model: plqlite.FaceModel, inpainter: Inpainter, label: str, occluded: bool, seed: int
) -> Callable[[str, Any], Made]:
    """Return the function that makes the images and the row of one source."""

    def make(image: str, loaded: Any) -> Made:  # noqa: ANN401  # a crop, or a photo with its face
        kind, name = image.split("/", 1) if occluded else ("", image)
        own = zlib.crc32(f"{seed}/{image}".encode())  # another draw for each image, in whatever order
        face, true_mask = occluded_crop(model, loaded, kind, own) if occluded else (loaded, None)
        done = inpaint_low_region(model, face, inpainter, own)
        true_masks = None if true_mask is None else {image: true_mask}
        row = inpainting_rows(model, {image: done}, true_masks).iloc[0].to_dict()
        row |= {"identity": identity_of(name), "kind": kind, "inpainter": label, "seed": seed}
        images = {"original": done.image, "mask": done.mask, "inpainted": done.inpainted["low"]}
        images |= {} if true_mask is None else {"true_mask": true_mask}
        return row, {variant: picture(each) for variant, each in images.items()}

    return make


def make_set(
    arguments: argparse.Namespace, model: plqlite.FaceModel, sources: dict[str, Path]
) -> pd.DataFrame:
    """Write the set, and return its index."""
    occluded = arguments.occlude is not None

    def load_crop(path: Path) -> torch.Tensor:
        return plqlite.load_face(path, model, aligned=True)[0]

    variants = ["original", "mask", "inpainted"] + ["true_mask"] * occluded
    inpainter = inpainter_of(arguments.inpainter, model)
    make = maker(model, inpainter, arguments.inpainter, occluded, arguments.seed)
    load: Callable[[Path], Any] = load_photo if occluded else load_crop
    return build(arguments.out, sources, COLUMNS, variants, load, make)


def inpainter_of(name: str, model: plqlite.FaceModel) -> Inpainter:
    """Return an inpainter by its name; the average is of the sample faces."""
    if name != "average":
        return INPAINTERS[name]
    faces = [plqlite.load_face(photo, model) for photo in plqlite.sample_faces().values()]
    return average_face(torch.cat(faces))


def sample_photos(folder: Path) -> Path:
    """Write the sample faces as photos of a data set, and return its folder."""
    for person, photo in plqlite.sample_faces().items():
        path = folder / person / f"{person}.png"
        if not path.exists():
            write_png(path, photo)
    return folder


def sources_of(arguments: argparse.Namespace, model: plqlite.FaceModel) -> dict[str, Path]:
    """Find what the images are made from: photos, one for each occluder, or crops, made first if need be."""
    folder, kinds = arguments.folder, arguments.occlude
    if str(folder) == "sample":
        folder = sample_photos(arguments.out / "photos")
    if kinds is None:
        return faces_in(folder, model, arguments.out)
    return {
        f"{kind}/{name}": photo for name, photo in photos_of(folder).items() for kind in kinds or OCCLUDERS
    }


def report(rows: pd.DataFrame) -> None:
    """Print how often a region was found, and what inpainting did."""
    found = rows[rows["score"].notna()]
    print(f"{len(rows)} images, an unusually low region in {len(found)}")
    report_part("all images", rows)
    report_part("where a region was found", found)
    if rows["iou"].notna().any():
        print(rows.groupby("kind")["iou"].mean().round(2).to_string())


def report_part(name: str, rows: pd.DataFrame) -> None:
    """Print how often Q went up or down in some of the rows."""
    if rows.empty:
        return
    for word in ("up", "down"):
        share = share_positive(verdict(rows) == word, rows["identity"])
        print(f"{name}, Q {word} beyond the noise: {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}]")
    for place in PLACES:
        change = rows[place] - rows["quality"]
        share = share_positive(change, rows["identity"])
        print(
            f"{name}, Q up in the closed form, {place}: {share.mean:.0%} "
            f"[{share.low:.0%}, {share.high:.0%}], mean change {change.mean():+.4f}"
        )


def parse() -> tuple[ScriptParser, argparse.Namespace]:
    """Read the command line; refuse what can be told to be wrong from it alone."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_out()
    parser.add_model()
    parser.add_argument("--inpainter", choices=["average", *INPAINTERS])
    parser.add_argument("--occlude", nargs="*", metavar="KIND")
    parser.add_seed()
    arguments = parser.parse_args()
    sample = str(arguments.folder) == "sample"
    arguments.inpainter = arguments.inpainter or ("mirror" if sample else "average")
    unknown = set(arguments.occlude or ()) - set(OCCLUDERS)
    if unknown:
        parser.error(f"--occlude {' '.join(sorted(unknown))}: choose from {', '.join(OCCLUDERS)}")
    if sample and arguments.inpainter == "average":
        parser.error("--inpainter average is made from the sample faces themselves: choose another for them")
    if not sample:
        parser.refuse_out_inside(arguments.out, arguments.folder)
    return parser, arguments


def main() -> None:
    """Find the low regions, inpaint them and measure."""
    parser, arguments = parse()
    folder, out = arguments.folder, arguments.out
    (model,) = parser.load_models([arguments.model])
    if model.reference_statistics is None:
        parser.error(
            f"{model.name} has no reference statistics: run data_scripts/calibrate.py with --model first"
        )
    if str(folder) != "sample" and not is_prepared(folder):
        parser.refuse_no_photos(photos_of(folder), folder, "PERSON/PHOTO.jpg, or an index.csv")
    expected = {"model": model.label, "inpainter": arguments.inpainter, "seed": arguments.seed}
    parser.refuse_other_setup(out, COLUMNS, expected)
    report(make_set(arguments, model, sources_of(arguments, model)))
    print(f"Images and index in {out}; what was skipped is in {out / 'skipped.csv'}")


if __name__ == "__main__":
    run(main)
