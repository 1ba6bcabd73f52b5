"""Check your own photos against the rules for passport photos: 33 to shoot, and one that keeps them all.

    python data_scripts/check_own_photos.py FOLDER [--model NAME …]

Prints what to shoot, and which of it FOLDER holds: reference.jpg and KIND-VARIANT.jpg (or .jpeg, .png,
.bmp, .ppm). Other names are left alone. Of what is there it prints how far Q̂ lies below that of the
reference, and advice, and writes FOLDER/checked/index.csv and FOLDER/checked/NAME-MODEL.png, face and map.
Nothing leaves this machine.
"""

import argparse
import sys
import warnings
from pathlib import Path

import pandas as pd

import plqlite
from plqlite.icao import REFERENCE
from plqlite.measure import usual_of
from plqlite.models import load_model
from plqlite.show import save_figure, show
from plqlite.tables import write_table

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp")
HOW = {
    REFERENCE: "straight into the camera, even light, a plain wall, nothing in front of the face, no smile",
    "headgear-cap": "a baseball cap, its visor to the front",
    "headgear-beanie": "a knitted cap, pulled down to the brows",
    "headgear-headscarf": "a scarf around head and neck",
    "colour-cast": "under a coloured lamp, or with the wrong white balance",
    "colour-grey": "the camera set to black and white",
    "colour-saturated": "the camera set to vivid colours, as far as it goes",
    "illumination-left": "a lamp at the left of the picture, the room dark",
    "illumination-right": "a lamp at the right of the picture, the room dark",
    "illumination-top": "a lamp above the head, the room dark",
    "illumination-bottom": "a torch below the chin, the room dark",
    "illumination-over": "exposure +2",
    "illumination-under": "exposure −3",
    "blur-defocus": "the camera focused on something near",
    "blur-motion": "a long exposure, the camera swung",
    "glasses-clear": "spectacles, their frame off the eyes",
    "glasses-dark": "sunglasses",
    "glasses-lowered": "spectacles slipped down the nose, the rims across the eyes",
    "contrast-low": "through a steamed-up pane or a plastic sleeve",
    "reflection-skin": "moist skin and a flash",
    "reflection-glasses": "spectacles, and a window mirrored in them",
    "face-mask-black": "a black face mask",
    "face-mask-blue": "a blue face mask",
    "face-mask-green": "a green face mask",
    "face-mask-white": "a white face mask",
    "pose-yaw": "the head turned aside by a third of a right angle",
    "pose-pitch": "the head lowered",
    "pose-roll": "the head tilted to a shoulder",
    "expression-open-mouth": "the mouth wide open",
    "expression-grimace": "a grimace, one side of the face unlike the other",
    "expression-closed-eyes": "the eyes closed",
    "distortion-barrel": "a wide-angle lens, very near",
    "distortion-pincushion": "a cheap tele lens, or an editor's pincushion filter",
    "background-busy": "in front of a full bookshelf",
}


def photos_in(folder: Path) -> dict[str, Path]:
    """Find the photo of each slot; case does not count, and of two the first by name is taken."""
    named = {
        path.stem.lower(): path
        for path in sorted(folder.iterdir(), reverse=True)
        if path.suffix.lower() in SUFFIXES and path.is_file()
    }
    return {name: named[name] for name in HOW if name in named}


def check(model: plqlite.FaceModel, name: str, path: Path, out: Path) -> dict:
    """Measure one photo, and draw face and map."""
    row = {"slot": name, "model": model.name, "photo": path.name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several faces: the largest is what we want
            images = plqlite.load_face(path, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        (out / f"{name}-{model.name}.png").unlink(missing_ok=True)  # of an earlier photo
        return row | {"advice": str(error)}
    explanation, advice = plqlite.explain(model, images), plqlite.advise(model, images)
    save_figure(show(images, explanation, [name]), out / f"{name}-{model.name}.png")
    return row | {
        "quality": explanation.quality.item(),
        "scaled_quality": explanation.scaled_quality.item(),
        "lowest": min(advice.regions, key=advice.regions.get),
        "advice": advice.text,
    }


def main() -> None:
    """Print the checklist, then what the photos show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=["sface", "facenet"], metavar="NAME")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder: make it, and put your photos there")
    photos, out = photos_in(arguments.folder), arguments.folder / "checked"
    try:
        models = [load_model(name) for name in arguments.model]
        for model in models:
            usual_of(model)
        if photos:
            out.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if len({model.name for model in models}) < len(models):
        parser.error(
            f"--model {' '.join(arguments.model)}: two of one name, leave one out or rename its file"
        )
    for name, how in HOW.items():
        print(f"[{'x' if name in photos else ' '}] {name:<24} {how}")
    missing = [name for name in HOW if name not in photos]
    print(f"{len(photos)} of {len(HOW)} there" + (f"; missing: {', '.join(missing)}" if missing else ""))
    if not photos:
        return
    rows = pd.DataFrame([check(model, name, path, out) for model in models for name, path in photos.items()])
    rows = rows.reindex(columns=["slot", "model", "photo", "quality", "scaled_quality", "lowest", "advice"])
    reference = rows[rows["slot"] == REFERENCE].set_index("model")["scaled_quality"]
    rows.insert(5, "delta_q", rows["model"].map(reference) - rows["scaled_quality"])
    if reference.dropna().size < len(models):
        print(f"Without a {REFERENCE} that shows a face there is no fall of Q̂.")
    for row in rows.to_dict("records"):
        fall = f": Q̂ falls by {row['delta_q']:+.2f}" if pd.notna(row["delta_q"]) else ""
        print(f"\n{row['slot']}, {row['model']}{fall}\n{row['advice']}")
    write_table(out / "index.csv", rows.replace(r"\n", " ", regex=True))
    print(f"\nTable and maps in {out}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a console without Q̂ shows ? and goes on
    main()
