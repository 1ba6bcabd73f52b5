"""data_scripts/check_own_photos.py."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plqlite
from plqlite.experiments.noncompliance import NON_COMPLIANCES, simulate
from plqlite.experiments.statistics import quality_change
from plqlite.faces import find_faces


@pytest.fixture
def own_photos(tmp_path):
    """A reference, glasses, a wall, and what is nobody's business."""
    photo = plqlite.sample_faces()["astronaut"]
    folder = tmp_path / "mine"
    folder.mkdir()
    simulated = simulate(photo, find_faces(photo)[0].landmarks, "glasses-dark")
    Image.fromarray(photo).save(folder / "reference.png")
    Image.fromarray(simulated.photo).save(folder / "Glasses-Dark.PNG")
    Image.new("RGB", (200, 200)).save(folder / "pose-yaw.bmp")
    (folder / "holiday.jpg").write_text("another matter")
    return folder


@pytest.mark.slow
def test_own_photos_are_listed_and_judged(run_script, own_photos, facenet, capsys):
    run_script("check_own_photos", own_photos, "--model", "facenet")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert sum(line.startswith("[x]") for line in lines) == 3
    assert sum(line.startswith("[ ]") for line in lines) == 31
    assert "3 of 34 there; missing: headgear-cap, " in printed
    assert "holiday" not in printed
    rows = pd.read_csv(own_photos / "checked" / "index.csv").set_index("slot")
    model = facenet
    images = [plqlite.load_face(own_photos / name, model) for name in ("reference.png", "Glasses-Dark.PNG")]
    clean, dark = (plqlite.explain(model, each) for each in images)
    assert rows["delta_q"]["glasses-dark"] == pytest.approx(quality_change(clean, dark).item(), abs=1e-4)
    assert rows["photo"]["glasses-dark"] == "Glasses-Dark.PNG"
    assert rows["delta_q"]["reference"] == 0
    assert plqlite.advise(model, dark).text in printed
    assert "No face found" in rows["advice"]["pose-yaw"]
    assert np.isnan(rows["delta_q"]["pose-yaw"])
    assert sorted(path.name for path in (own_photos / "checked").glob("[!.]*")) == [
        "glasses-dark-facenet.png",
        "index.csv",
        "reference-facenet.png",
    ]


def test_a_photo_without_a_face_leaves_no_old_map(run_script, own_photos, capsys):
    run_script("check_own_photos", own_photos, "--model", "sface")
    assert (own_photos / "checked" / "reference-sface.png").exists()
    Image.new("RGB", (200, 200)).save(own_photos / "reference.png")
    capsys.readouterr()
    run_script("check_own_photos", own_photos, "--model", "sface")
    printed = capsys.readouterr().out
    assert not (own_photos / "checked" / "reference-sface.png").exists()
    assert "Without a reference that shows a face the fall of Q̂ is not known." in printed
    assert "nan" not in printed


@pytest.mark.parametrize(
    ("models", "message"),
    [(["sface", "sface"], "two have the same name"), (["magic"], "There is no model 'magic'")],
)
def test_models_that_cannot_be_told_apart_are_refused(run_script, own_photos, capsys, models, message):
    with pytest.raises(SystemExit) as end:
        run_script("check_own_photos", own_photos, "--model", *models)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_checklist_comes_without_photos(run_script, tmp_path, capsys):
    run_script("check_own_photos", tmp_path, "--model", "sface")
    printed = capsys.readouterr().out
    assert all(f"[ ] {name}" in printed for name in ("reference", *NON_COMPLIANCES))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_none_is_named(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run_script("check_own_photos", tmp_path / "no")
    assert end.value.code == 2
    assert "is not a folder: create it, and put your photos there" in capsys.readouterr().err
