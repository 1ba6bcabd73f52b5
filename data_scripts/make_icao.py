"""Make the ICAO set (Fig. 8): a portrait, and the same made non-compliant with ICAO 9303 in 33 ways.

    python data_scripts/make_icao.py [PHOTO] --out data/icao [--strength 1] [--seed 0]

PHOTO shows one face, frontal, well lit, with nothing in front of it; without PHOTO, it is the astronaut's.
Writes data/icao/reference.png and KIND-VARIANT.png, mask/KIND-VARIANT.png (what was changed, white) unless
that is everything, index.csv, and contact_sheet.png to look at. A photo with a side above 2048 pixels is
reduced to that first.
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
from plqlite.console import run
from plqlite.experiments.build import write_png
from plqlite.experiments.icao import REFERENCE, simulate_all
from plqlite.experiments.noncompliance import NON_COMPLIANCES, Simulated
from plqlite.experiments.scripts import ScriptParser
from plqlite.experiments.tables import write_table
from plqlite.faces import Face, mask_to_rgb, read_image
from plqlite.figures import save_figure
from plqlite.locks import lock_of, locked, remove_unfinished


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


def strength(text: str) -> float:
    """Read a strength."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"choose 0 to 1, found {value}")
    return value


def simulate(arguments: argparse.Namespace) -> tuple[Face, dict[str, Simulated]]:
    """Read the photo, reduce it if it is large, and make it non-compliant in each way."""
    photo = read_image(arguments.photo) if arguments.photo else plqlite.sample_faces()["astronaut"]
    image = Image.fromarray(photo)
    image.thumbnail((2048, 2048))
    return simulate_all(np.array(image), arguments.strength, arguments.seed)


def write_set(simulated: Mapping[str, Simulated], arguments: argparse.Namespace) -> None:
    """Write photos, masks and index."""
    out, rows = arguments.out, []
    for name, (photo, mask, _) in simulated.items():
        kind, variant, *_ = NON_COMPLIANCES.get(name, (REFERENCE, ""))
        touched = 1.0 if mask is None else mask.mean()
        rows.append((f"{name}.png", kind, variant, arguments.strength, arguments.seed, round(touched, 4)))
        write_png(out / f"{name}.png", photo)
        if mask is not None:
            write_png(out / "mask" / f"{name}.png", mask_to_rgb(mask))
    index = pd.DataFrame(rows, columns=["image", "kind", "variant", "strength", "seed", "touched"])
    index.loc[index["kind"] == REFERENCE, "touched"] = 0.0
    write_table(out / "index.csv", index)


def main() -> None:
    """Make the photo non-compliant in each way, and write the results."""
    parser = ScriptParser(__doc__)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_out()
    parser.add_argument("--strength", type=strength, default=1.0)
    parser.add_seed()
    arguments = parser.parse_args()
    out = arguments.out
    ours = (out / "index.csv").exists() or lock_of(out / "index.csv").exists()  # of a run that was killed
    if not ours and any((out / f"{name}.png").exists() for name in NON_COMPLIANCES):
        parser.error(f"--out {out} holds photos of these names from elsewhere: choose another folder")
    try:
        face, simulated = simulate(arguments)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    photos = {name: each.photo for name, each in simulated.items()}
    with locked(out / "index.csv"):
        remove_unfinished(out)
        (out / "mask").mkdir(exist_ok=True)
        (out / "index.csv").unlink(missing_ok=True)  # written last: it stands for a complete set
        write_set(simulated, arguments)
        save_figure(contact_sheet(photos, face.box), out / "contact_sheet.png")
    print(f"{len(photos) - 1} images and {REFERENCE}.png in {out}: look at {out / 'contact_sheet.png'}")


if __name__ == "__main__":
    run(main)
