"""Find the unusually low region of each face, and fill it in (§4.1, Fig. 2): the pre- and inpainted set.

    python data_scripts/make_inpainted.py FOLDER --out data/inpainted [--model NAME] [--inpainter NAME]
                                          [--occlude [KIND …]] [--seed 0]

FOLDER is what a prepare script has written (LFW, VGGFace2, Adience, …), or a folder that holds PERSON/PHOTO,
or `sample` for the nine faces that come with the dependencies. --model is one that the faces were prepared
for (default: sface). --inpainter is mirror, telea, navier_stokes, biharmonic, lama, or average: mirror, and
the average of the sample faces where both halves are low (default, but for the sample faces themselves).

--occlude first puts something in front of each face, one image for each kind (default: all of them, see
plqlite/occluders.py): then the true place is known. It needs the photos themselves, not prepared crops.

Writes data/inpainted/original/PERSON/PHOTO.png, mask/… (what was found, white), inpainted/…, with --occlude
also truth/…, and index.csv: for each image the score of the region (empty: none was found), its area, its
overlap with the truth, Q before and after in the closed form and sampled with ten seeds, their noise, and
Q after the controls (see plqlite/repair.py). Prints how often Q went up or down by more than the noise.
Run it again after an interruption: it goes on where it stopped.
"""

import argparse
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import plqlite
from plqlite.dataset import Made, aligned_faces, build, identity_of, photos_of, prepare, write_png
from plqlite.faces import Face, NoFaceFound, find_faces, read_image
from plqlite.inpaint import INPAINTERS, Inpainter, average_face
from plqlite.measure import share_positive
from plqlite.models import load_model
from plqlite.occluders import OCCLUDERS, occlude
from plqlite.repair import FILLED, measure_repairs, repair, verdict
from plqlite.tables import open_table

TEXTS = ("image", "identity", "kind", "model", "inpainter")
NUMBERS = ("score", "area", "iou", "quality", "low", "random", "high", "sampled", "sampled_low", "noise")
COLUMNS = dict.fromkeys(TEXTS, str) | {"seed": int} | dict.fromkeys(NUMBERS, float) | {"sha256": str}


def to_array(image: torch.Tensor) -> np.ndarray:
    """Turn (3, H, W) in 0..255, or a mask (H, W), into (H, W, 3) of uint8."""
    image = image[None].expand(3, -1, -1) * 255 if image.dtype == torch.bool else image
    return image.byte().permute(1, 2, 0).cpu().numpy()


@lru_cache(maxsize=1)  # the same photo comes once for each occluder
def largest_face(photo: Path) -> tuple[np.ndarray, Face]:
    """Read a photo and find its largest face."""
    image = read_image(photo)
    found = find_faces(image)
    if not found:
        raise NoFaceFound(f"no face found in an image of {image.shape[1]}×{image.shape[0]} pixels")
    return image, found[0]


def crops(model: plqlite.FaceModel, photo: Path, kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Occlude a photo, and align photo (3, H, W) and mask (H, W) as the photo itself is aligned."""
    image, face = largest_face(photo)
    covered, mask = occlude(image, face.landmarks, kind, seed)
    white = np.repeat(np.uint8(mask)[..., None] * 255, 3, axis=2)
    both = [model.align(each, face, model.size) for each in (covered, white)]
    image, truth = (torch.from_numpy(each).permute(2, 0, 1).to(model.device) for each in both)
    return image.float(), truth[0] > 127


def maker(
    model: plqlite.FaceModel, inpainter: Inpainter, label: str, occluded: bool, seed: int
) -> Callable[[str, Path], Made]:
    """Return the function that makes the images and the row of one source."""

    def make(image: str, path: Path) -> Made:
        kind, name = image.split("/", 1) if occluded else ("", image)
        own = zlib.crc32(f"{seed}/{image}".encode())  # another draw for each image, in whatever order
        if occluded:
            face, truth = crops(model, path, kind, own)
        else:
            face, truth = plqlite.load_face(path, model, aligned=True)[0], None
        done = repair(model, face, inpainter, own)
        truths = None if truth is None else {image: truth}
        row = measure_repairs(model, {image: done}, truths).iloc[0].to_dict()
        row |= {"identity": identity_of(name), "kind": kind, "inpainter": label, "seed": seed}
        images = {"original": done.image, "mask": done.mask, "inpainted": done.filled["low"]}
        images |= {"truth": truth} if occluded else {}
        return row, {variant: to_array(each) for variant, each in images.items()}

    return make


def sample_photos(folder: Path) -> dict[str, Path]:
    """Write the sample faces as photos of a data set."""
    for person, photo in plqlite.sample_faces().items():
        path = folder / person / f"{person}.png"
        if not path.exists():
            write_png(path, photo)
    return photos_of(folder)


def report(rows: pd.DataFrame) -> None:
    """Print how often a region was found, and what filling it in did."""
    found = rows[rows["score"].notna()]
    print(f"{len(rows)} images, an unusually low region in {len(found)}")
    for name, part in ("all images", rows), ("where a region was found", found):
        if len(part):
            said = verdict(part)
            for word in ("up", "down"):
                share = share_positive(said == word, part["identity"])
                print(
                    f"{name}, Q {word} beyond the noise: {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}]"
                )
            for column in FILLED:
                change = part[column] - part["quality"]
                share = share_positive(change, part["identity"])
                print(
                    f"{name}, Q up in the closed form, {column}: {share.mean:.0%} "
                    f"[{share.low:.0%}, {share.high:.0%}], mean change {change.mean():+.4f}"
                )
    if rows["iou"].notna().any():
        print(rows.groupby("kind")["iou"].mean().round(2).to_string())


def sources_of(arguments: argparse.Namespace, model: plqlite.FaceModel) -> dict[str, Path]:
    """Find what the images are made of: photos, one for each occluder, or crops, made first if need be."""
    folder, kinds = arguments.folder, arguments.occlude
    if kinds is None and (folder / "index.csv").exists():
        return aligned_faces(folder, model)
    photos = sample_photos(arguments.out / "photos") if str(folder) == "sample" else photos_of(folder)
    if kinds is not None:
        return {f"{kind}/{name}": photo for name, photo in photos.items() for kind in kinds or OCCLUDERS}
    prepare(photos, arguments.out / "aligned", [model])
    return aligned_faces(arguments.out / "aligned", model)


def main() -> None:
    """Find, fill in and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="sface", metavar="NAME")
    parser.add_argument("--inpainter", choices=["average", *INPAINTERS])
    parser.add_argument("--occlude", nargs="*", metavar="KIND")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model, folder, out, seed = load_model(arguments.model), arguments.folder, arguments.out, arguments.seed
    sample = str(folder) == "sample"
    label = arguments.inpainter or ("mirror" if sample else "average")
    unknown = set(arguments.occlude or ()) - set(OCCLUDERS)
    if seed < 0:
        parser.error(f"--seed {seed}: a seed is 0 or more")
    if unknown:
        parser.error(f"--occlude {' '.join(sorted(unknown))}: choose from {', '.join(OCCLUDERS)}")
    if model.usual is None:
        parser.error(f"{model.name} has no usual map: run data_scripts/calibrate.py with --model first")
    if sample and label == "average":
        parser.error("--inpainter average holds the sample faces themselves: choose another for them")
    if not sample and out.resolve().is_relative_to(folder.resolve()):
        parser.error(f"--out {out} lies in {folder}, and what is written would be taken for photos")
    before = open_table(out / "index.csv", COLUMNS)
    for name, wanted in (("model", model.name), ("inpainter", label), ("seed", seed)):
        if not before[name].isin([wanted]).all():
            parser.error(f"{out} was made with another {name} than {wanted}: choose another --out")
    sources = sources_of(arguments, model)
    if not sources:
        parser.error(f"neither an index.csv nor photos in {folder}: it should hold PERSON/PHOTO.jpg")
    inpainter = INPAINTERS.get(label)
    if inpainter is None:
        faces = [plqlite.load_face(photo, model) for photo in plqlite.sample_faces().values()]
        inpainter = average_face(torch.cat(faces))
    occluded = arguments.occlude is not None
    variants = ["original", "mask", "inpainted"] + ["truth"] * occluded
    report(build(out, sources, COLUMNS, variants, maker(model, inpainter, label, occluded, seed)))
    print(f"Images and index in {out}; what was skipped is in {out / 'skipped.csv'}")


if __name__ == "__main__":
    main()
