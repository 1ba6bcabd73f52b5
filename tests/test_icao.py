"""plqlite/icao.py, and the two scripts around it."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import plqlite
from conftest import tiny_model
from plqlite import dataset
from plqlite.faces import REGIONS, face_regions, find_faces
from plqlite.icao import (
    Violation,
    align_violation,
    break_all,
    icao_experiment,
    measure_crops,
    touched_regions,
)
from plqlite.measure import localisation_auc, quality_change, region_quality
from plqlite.saliency import relative_level
from plqlite.violations import slots, violate


def test_a_face_that_has_moved_is_found_again():
    model, photo = plqlite.sface("cpu"), plqlite.sample_faces()["astronaut"]
    face, violations = break_all(photo)
    crops = {name: align_violation(model, each, face) for name, each in violations.items()}
    assert list(crops) == ["reference", *slots()]
    assert all(crop.found for crop in crops.values())
    torch.testing.assert_close(crops["reference"].image[None], plqlite.load_face(photo, model))
    for name in ("pose-roll", "pose-yaw"):  # aligned as any photo would be
        torch.testing.assert_close(crops[name].image[None], plqlite.load_face(violations[name].photo, model))
    mask = crops["face-mask-blue"].mask
    assert mask[92, 56]
    assert not mask[52, 38]


def test_a_face_that_is_lost_is_aligned_as_before_and_said_to_be_lost():
    model, photo = plqlite.sface("cpu"), plqlite.sample_faces()["astronaut"]
    (face,) = find_faces(photo)
    black = Violation(np.zeros_like(photo), None, True)
    crop = align_violation(model, black, face)
    assert not crop.found
    assert crop.image.shape == (3, 112, 112)
    assert not crop.image.any()
    with pytest.raises(plqlite.NoFaceFound, match="No face found in an image of 512×512"):
        break_all(np.zeros_like(photo))
    with pytest.raises(ValueError, match="No photos: give at least one"):
        icao_experiment([model], {})
    with pytest.raises(ValueError, match="tiny does not know how undisturbed faces look"):
        icao_experiment([tiny_model()], {"ada": photo})


def test_another_face_is_not_taken_for_the_one_that_was_lost():
    """Two faces: the nearer one counts, and none that is far away."""
    model, astronaut = plqlite.sface("cpu"), plqlite.sample_faces()["astronaut"]
    pair = np.concatenate([astronaut, astronaut], axis=1)
    for face in find_faces(pair):
        crop = align_violation(model, Violation(pair, None, True), face)
        assert crop.found
        assert torch.equal(crop.image.byte(), torch.from_numpy(model.align(pair, face)).permute(2, 0, 1))
        left, top, right, bottom = face.box.astype(int)
        lost = pair.copy()
        lost[top - 20 : bottom + 20, left - 20 : right + 20] = 0
        crop = align_violation(model, Violation(lost, None, True), face)
        assert not crop.found
        assert torch.equal(crop.image.byte(), torch.from_numpy(model.align(lost, face)).permute(2, 0, 1))


def test_a_region_counts_as_touched_from_a_tenth_on():
    model = plqlite.sface("cpu")
    mouth = face_regions(model)[list(REGIONS).index("mouth")].nonzero()  # (n, 2)
    for share, touched in ((0.08, []), (0.15, ["mouth"])):
        mask = torch.zeros(112, 112, dtype=torch.bool)
        mask[tuple(mouth[: round(share * len(mouth))].T)] = True
        assert touched_regions(model, mask) == touched


def test_the_experiment_measures_what_it_says(model):
    photo = plqlite.sample_faces()["grace_hopper"]
    face, violations = break_all(photo, seed=2)
    crops = {name: align_violation(model, each, face) for name, each in violations.items()}
    rows = icao_experiment([model], {"hopper/1": photo}, seed=2)
    assert rows["slot"].tolist() == list(crops)
    assert set(rows["identity"]) == {"hopper"}
    assert rows["kind"].nunique() == 13
    name = "glasses-dark"
    row = rows.set_index("slot").loc[name]
    images = torch.stack([crops["reference"].image, crops[name].image])
    clean, broken = (plqlite.explain(model, image[None], None) for image in images)
    assert row["delta_q"] == pytest.approx(quality_change(clean, broken).item(), abs=1e-4)
    z = region_quality(broken, model)
    assert row["nose"] == pytest.approx(z["nose"].item(), abs=1e-3)
    assert row["lowest"] == min(z, key=lambda region: z[region].item())
    assert row["touched"] == touched_regions(model, crops[name].mask)
    assert {"left eye", "right eye"} <= set(row["touched"])
    assert "chin" not in row["touched"]
    fall = relative_level(clean.saliency) - relative_level(broken.saliency)
    coarse = torch.nn.functional.adaptive_avg_pool2d(crops[name].mask[None].float(), 28)[0] > 0.5
    assert row["auc"] == pytest.approx(localisation_auc(-fall[0], coarse), abs=1e-3)
    plq = [torch.nn.functional.adaptive_avg_pool2d(each.plq, 28)[0] for each in (clean, broken)]
    assert row["auc_plq"] == pytest.approx(localisation_auc(plq[1] - plq[0], coarse), abs=1e-3)
    alone = localisation_auc(relative_level(broken.saliency)[0], coarse)
    assert row["auc_alone"] == pytest.approx(alone, abs=1e-3)
    blurred = relative_level(plqlite.explain(model, crops["blur-defocus"].image[None], None).saliency)
    control = localisation_auc((blurred - relative_level(clean.saliency))[0], coarse)
    assert row["auc_blur"] == pytest.approx(control, abs=1e-3)
    ranks = [relative_level(each.saliency).flatten().argsort().argsort().double() for each in (clean, broken)]
    assert row["kept"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-3)
    reference = rows.iloc[0]
    assert (reference["delta_q"], reference["touched"]) == (0, [])
    assert reference["kept"] == pytest.approx(1)
    assert np.isnan(reference["auc"])
    again = measure_crops(model, crops)
    pd.testing.assert_series_equal(again["quality"], rows["quality"])


# --- make_icao.py ---


def test_the_set_holds_33_images_masks_an_index_and_a_contact_sheet(run_script, tmp_path, capsys):
    out = tmp_path / "icao"
    run_script("make_icao", "--out", out)
    assert "33 images and reference.png" in capsys.readouterr().out
    photo = plqlite.sample_faces()["astronaut"]
    _, violations = break_all(photo)
    index = pd.read_csv(out / "index.csv", keep_default_na=False)
    assert index["image"].tolist() == [f"{name}.png" for name in violations]
    assert index["kind"].nunique() == 13
    for row, (name, violation) in zip(index.itertuples(), violations.items(), strict=True):
        assert (np.array(Image.open(out / row.image)) == violation.photo).all()
        assert (out / "mask" / row.image).exists() == (violation.mask is not None)
        if violation.mask is not None:
            white = np.array(Image.open(out / "mask" / row.image))
            assert ((white[..., 0] == 255) == violation.mask).all()
            assert row.touched == pytest.approx(violation.mask.mean(), abs=1e-4)
        assert (row.kind, row.variant) == slots().get(name, ("reference", ""))
    assert index["touched"][0] == 0
    assert Image.open(out / "contact_sheet.png").size > (1000, 800)


def test_strength_seed_and_photo_reach_the_set(run_script, tmp_path):
    photo = plqlite.sample_faces()["grace_hopper"]
    Image.fromarray(photo).save(tmp_path / "hopper.png")
    run_script("make_icao", tmp_path / "hopper.png", "--out", tmp_path / "a", "--strength", 0.5, "--seed", 3)
    landmarks = find_faces(photo)[0].landmarks
    index = pd.read_csv(tmp_path / "a" / "index.csv")
    assert set(index["strength"]) == {0.5}
    assert set(index["seed"]) == {3}
    for name in ("colour-cast", "face-mask-blue", "pose-roll"):
        expected = violate(photo, landmarks, *slots()[name], 0.5, 3).photo
        assert (np.array(Image.open(tmp_path / "a" / f"{name}.png")) == expected).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wall.png"], "No face found in an image of 200×200 pixels. Use a portrait."),
        (["letter.jpg"], "cannot be read"),
        (["nothing.png"], "nothing.png"),
        (["--strength", "2"], "--strength 2.0: choose 0 to 1"),
        (["--seed", "-1"], "--seed -1: a seed is 0 or more"),
    ],
)
def test_what_make_icao_cannot_use_is_named(run_script, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 200)).save("wall.png")
    (tmp_path / "letter.jpg").write_text("I am a letter")
    with pytest.raises(SystemExit) as end:
        run_script("make_icao", *arguments, "--out", tmp_path / "icao")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "icao").exists()


def test_photos_of_the_reader_are_not_overwritten(run_script, own_photos, capsys):
    """check_own_photos.py asks for files of the same names."""
    (own_photos / "pose-roll.png").write_bytes(b"a photo of mine")
    with pytest.raises(SystemExit):
        run_script("make_icao", own_photos / "reference.png", "--out", own_photos)
    assert "holds photos of these names from elsewhere" in capsys.readouterr().err
    assert (own_photos / "pose-roll.png").read_bytes() == b"a photo of mine"


def test_an_interrupted_set_has_no_index(run_script, tmp_path, interrupt):
    run_script("make_icao", "--out", tmp_path)
    interrupt(dataset, "write_png", at=15)
    with pytest.raises(KeyboardInterrupt):
        run_script("make_icao", "--out", tmp_path, "--seed", "5")
    assert not (tmp_path / "index.csv").exists()


def test_a_large_photo_is_made_smaller(run_script, tmp_path):
    photo = Image.fromarray(plqlite.sample_faces()["astronaut"]).resize((2600, 2600))
    photo.save(tmp_path / "large.png", compress_level=1)
    run_script("make_icao", tmp_path / "large.png", "--out", tmp_path / "icao")
    assert Image.open(tmp_path / "icao" / "blur-defocus.png").size == (2048, 2048)


# --- check_own_photos.py ---


@pytest.fixture
def own_photos(tmp_path):
    """A reference, glasses, a wall, and what is nobody's business."""
    photo = plqlite.sample_faces()["astronaut"]
    folder = tmp_path / "mine"
    folder.mkdir()
    _, violations = break_all(photo)
    Image.fromarray(photo).save(folder / "reference.png")
    Image.fromarray(violations["glasses-dark"].photo).save(folder / "Glasses-Dark.PNG")
    Image.new("RGB", (200, 200)).save(folder / "pose-yaw.bmp")
    (folder / "holiday.jpg").write_text("another matter")
    return folder


def test_own_photos_are_listed_and_judged(run_script, own_photos, capsys):
    run_script("check_own_photos", own_photos, "--model", "facenet")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert sum(line.startswith("[x]") for line in lines) == 3
    assert sum(line.startswith("[ ]") for line in lines) == 31
    assert "3 of 34 there; missing: headgear-cap, " in printed
    assert "holiday" not in printed
    rows = pd.read_csv(own_photos / "checked" / "index.csv").set_index("slot")
    model = plqlite.facenet(device="cpu")
    images = [plqlite.load_face(own_photos / name, model) for name in ("reference.png", "Glasses-Dark.PNG")]
    clean, dark = (plqlite.explain(model, each) for each in images)
    assert rows["delta_q"]["glasses-dark"] == pytest.approx(quality_change(clean, dark).item(), abs=1e-4)
    assert rows["photo"]["glasses-dark"] == "Glasses-Dark.PNG"
    assert rows["delta_q"]["reference"] == 0
    assert plqlite.advise(model, images[1]).text in printed
    assert "No face found" in rows["advice"]["pose-yaw"]
    assert np.isnan(rows["delta_q"]["pose-yaw"])
    assert sorted(path.name for path in (own_photos / "checked").iterdir()) == [
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
    assert "Without a reference that shows a face there is no fall of Q̂." in printed
    assert "nan" not in printed


@pytest.mark.parametrize(
    ("models", "message"),
    [(["sface", "sface"], "two of one name"), (["magic"], "There is no model 'magic'")],
)
def test_models_that_cannot_be_told_apart_are_refused(run_script, own_photos, capsys, models, message):
    with pytest.raises(SystemExit) as end:
        run_script("check_own_photos", own_photos, "--model", *models)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_checklist_comes_without_photos(run_script, tmp_path, capsys):
    run_script("check_own_photos", tmp_path, "--model", "sface")
    printed = capsys.readouterr().out
    assert all(f"[ ] {name}" in printed for name in ("reference", *slots()))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_none_is_named(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run_script("check_own_photos", tmp_path / "no")
    assert end.value.code == 2
    assert "is no folder: make it, and put your photos there" in capsys.readouterr().err
