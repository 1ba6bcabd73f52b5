"""Make the ICAO set (Fig. 8): a portrait, and the same breaking the rules for passport photos in 33 ways.

    python data_scripts/make_icao.py [PHOTO] [--out data/icao] [--strength 1] [--seed 0]

PHOTO shows one face, frontal, well lit, nothing in front of it; without any, the astronaut is taken.
Writes data/icao/reference.png and KIND-VARIANT.png, mask/KIND-VARIANT.png (what was touched, white) where
that is not everything, index.csv, and contact_sheet.png to look at. A photo with a side above 2048 pixels is
made that small first.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

import plqlite
from plqlite.dataset import write_png
from plqlite.faces import read_image
from plqlite.icao import REFERENCE, break_all
from plqlite.show import save_figure
from plqlite.tables import write_table
from plqlite.violations import slots


def contact_sheet(photos: Mapping[str, np.ndarray], box: np.ndarray, columns: int = 7) -> Figure:
    """Draw head and shoulders of each photo, with its name."""
    (left, top, right, bottom), (height, width) = box, next(iter(photos.values())).shape[:2]
    side, x, y = max(right - left, bottom - top), (left + right) / 2, (top + bottom) / 2
    rows = slice(max(0, int(y - side)), min(height, int(y + side)))
    seen = slice(max(0, int(x - side)), min(width, int(x + side)))
    lines = -(-len(photos) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(1.7 * columns, 1.95 * lines), layout="constrained")
    plt.close(figure)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, photo) in zip(axes.flat, photos.items(), strict=False):
        axis.imshow(photo[rows, seen])
        axis.set_title(name, fontsize=8)
    return figure


def main() -> None:
    """Break each rule, and write what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data/icao"))
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    strength, seed, out = arguments.strength, arguments.seed, arguments.out
    if not 0 <= strength <= 1:
        parser.error(f"--strength {strength}: choose 0 to 1")
    if seed < 0:
        parser.error(f"--seed {seed}: a seed is 0 or more")
    if not (out / "index.csv").exists() and any((out / f"{name}.png").exists() for name in slots()):
        parser.error(f"--out {out} holds photos of these names from elsewhere: choose another folder")
    try:
        photo = read_image(arguments.photo) if arguments.photo else plqlite.sample_faces()["astronaut"]
        image = Image.fromarray(photo)
        image.thumbnail((2048, 2048))
        face, made = break_all(np.array(image), strength, seed)
        (out / "mask").mkdir(parents=True, exist_ok=True)
        (out / "index.csv").unlink(missing_ok=True)  # written last: it stands for a complete set
    except plqlite.NoFaceFound as error:
        parser.error(f"{error} Use a portrait.")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    rows = []
    for name, violation in made.items():
        kind, variant = slots().get(name, (REFERENCE, ""))
        touched = 1.0 if violation.mask is None else violation.mask.mean()
        rows.append((f"{name}.png", kind, variant, strength, seed, round(touched, 4)))
        write_png(out / f"{name}.png", violation.photo)
        if violation.mask is not None:
            white = np.repeat(np.uint8(violation.mask)[..., None] * 255, 3, axis=2)
            write_png(out / "mask" / f"{name}.png", white)
    index = pd.DataFrame(rows, columns=["image", "kind", "variant", "strength", "seed", "touched"])
    index.loc[0, "touched"] = 0.0
    write_table(out / "index.csv", index)
    photos = {name: violation.photo for name, violation in made.items()}
    save_figure(contact_sheet(photos, face.box), out / "contact_sheet.png")
    print(f"{len(made) - 1} images and {REFERENCE}.png in {out}: look at {out / 'contact_sheet.png'}")


if __name__ == "__main__":
    main()
