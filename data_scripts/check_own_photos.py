"""Check your own photos against ICAO 9303, the rules for passport photos: 33 to shoot, and one that complies.

    python data_scripts/check_own_photos.py FOLDER [--model NAME …]

Prints what to shoot, and which of it FOLDER holds: reference.jpg and KIND-VARIANT.jpg (or .jpeg, .png,
.bmp, .ppm). Other names are ignored. Of each photo that is there it prints how far Q̂ is below that of the
reference, and advice, and writes FOLDER/checked/index.csv and FOLDER/checked/NAME-MODEL.png, the face and its
PLQ map. Nothing leaves this machine.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

import plqlite
from plqlite.console import printable, run
from plqlite.experiments.icao import REFERENCE
from plqlite.experiments.scripts import ScriptParser, load_largest_face
from plqlite.experiments.tables import write_table
from plqlite.faces import PHOTO_SUFFIXES
from plqlite.figures import save_figure, show
from plqlite.locks import locked, remove_unfinished
from plqlite.regions import reference_statistics_of

HOW = {
    REFERENCE: "straight into the camera, even light, a plain wall, nothing in front of the face, no smile",
    "headgear-cap": "a baseball cap, the visor to the front",
    "headgear-beanie": "a knitted cap, pulled down to the brows",
    "headgear-headscarf": "a scarf around head and neck",
    "colour-cast": "under a coloured lamp, or with the wrong white balance",
    "colour-grey": "the camera set to black and white",
    "colour-saturated": "the camera set to vivid colours, as far as it goes",
    "illumination-left": "a lamp at the left of the picture, in a dark room",
    "illumination-right": "a lamp at the right of the picture, in a dark room",
    "illumination-top": "a lamp above the head, in a dark room",
    "illumination-bottom": "a torch below the chin, in a dark room",
    "illumination-over": "exposure +2",
    "illumination-under": "exposure −3",
    "blur-defocus": "the camera focused on something near",
    "blur-motion": "a long exposure, the camera swung",
    "glasses-clear": "spectacles, the frame clear of the eyes",
    "glasses-dark": "sunglasses",
    "glasses-lowered": "spectacles slipped down the nose, the rims across the eyes",
    "contrast-low": "through a steamed-up pane or a plastic sleeve",
    "reflection-skin": "moist skin and a flash",
    "reflection-glasses": "spectacles, and a window mirrored in them",
    "face-mask-black": "a black face mask",
    "face-mask-blue": "a blue face mask",
    "face-mask-green": "a green face mask",
    "face-mask-white": "a white face mask",
    "pose-yaw": "the head turned to one side by a third of a right angle",
    "pose-pitch": "the head lowered",
    "pose-roll": "the head tilted to a shoulder",
    "expression-open-mouth": "the mouth wide open",
    "expression-grimace": "a grimace, with one side of the face unlike the other",
    "expression-closed-eyes": "the eyes closed",
    "distortion-barrel": "a wide-angle lens, very near",
    "distortion-pincushion": "a cheap tele lens, or an editor's pincushion filter",
    "background-busy": "in front of a full bookshelf",
}


def photos_in(folder: Path) -> dict[str, Path]:
    """Find the photo for each name; case does not matter, and of two the first in order is taken."""
    named = {
        path.stem.lower(): path
        for path in sorted(folder.iterdir(), reverse=True)
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()
    }
    return {name: named[name] for name in HOW if name in named}


def check(model: plqlite.FaceModel, name: str, photo: Path, out: Path) -> dict:
    """Explain one photo, draw face and map, and return a row of the table."""
    row, picture = {"slot": name, "model": model.name, "photo": photo.name}, out / f"{name}-{model.name}.png"
    try:
        images = load_largest_face(photo, model)
    except (plqlite.NoFaceFound, plqlite.UnreadableImage) as error:
        picture.unlink(missing_ok=True)  # of an earlier photo
        return row | {"advice": printable(error)}
    explanation = plqlite.explain(model, images)
    advice = plqlite.advise(model, explanation)
    save_figure(show(images, explanation, [name]), picture)
    return row | {
        "quality": explanation.quality.item(),
        "scaled_quality": explanation.scaled_quality.item(),
        "lowest": min(advice.z, key=lambda region: advice.z[region]),
        "advice": advice.text,
    }


def check_all(models: list[plqlite.FaceModel], photos: Mapping[str, Path], out: Path) -> pd.DataFrame:
    """Check all photos with all models, and add how far Q̂ falls from the reference."""
    rows = pd.DataFrame([check(model, *photo, out) for model in models for photo in photos.items()])
    rows = rows.reindex(columns=["slot", "model", "photo", "quality", "scaled_quality", "lowest", "advice"])
    reference = rows[rows["slot"] == REFERENCE].set_index("model")["scaled_quality"]
    rows.insert(5, "delta_q", rows["model"].map(reference) - rows["scaled_quality"])
    return rows


def print_checklist(photos: Mapping[str, Path]) -> None:
    """Print what to shoot, and what is there."""
    for name, how in HOW.items():
        print(f"[{'x' if name in photos else ' '}] {name:<24} {how}")
    missing = [name for name in HOW if name not in photos]
    print(f"{len(photos)} of {len(HOW)} there" + (f"; missing: {', '.join(missing)}" if missing else ""))


def print_results(rows: pd.DataFrame) -> None:
    """Print what the photos show."""
    without = rows.groupby("model")["delta_q"].count() == 0
    if without.any():
        print(f"Without a {REFERENCE} that shows a face the fall of Q̂ is not known.")
    for row in rows.to_dict("records"):
        fall = f": Q̂ falls by {row['delta_q']:+.2f}" if pd.notna(row["delta_q"]) else ""
        print(f"\n{row['slot']}, {row['model']}{fall}\n{row['advice']}")


def parse() -> tuple[Path, list[plqlite.FaceModel]]:
    """Read the command line, and build the models."""
    parser = ScriptParser(__doc__)
    parser.add_folder()
    parser.add_models()
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder: create it, and put your photos there")
    models = parser.load_models(arguments.model)
    names = " ".join(arguments.model)
    if len({model.name for model in models}) < len(models):
        parser.error(f"--model {names}: two have the same name, leave one out or rename its file")
    try:
        for model in models:
            reference_statistics_of(model)
    except ValueError as error:
        parser.error(str(error))
    return arguments.folder, models


def main() -> None:
    """Print the checklist, then what the photos show."""
    folder, models = parse()
    photos, out = photos_in(folder), folder / "checked"
    print_checklist(photos)
    if not photos:
        return
    with locked(out / "index.csv"):
        remove_unfinished(out)
        rows = check_all(models, photos, out)
        write_table(out / "index.csv", rows.replace(r"\n", " ", regex=True))
    print_results(rows)
    print(f"\nTable and maps in {out}")


if __name__ == "__main__":
    run(main)
