import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import small

import plqlite
from conftest import contents, times, tiny_model
from plqlite.experiments import dataset
from plqlite.experiments.build import SKIPPED, build
from plqlite.experiments.dataset import aligned_faces, identity_of, photos_of
from plqlite.experiments.tables import open_table


def test_crops_are_those_of_load_face(prepared, people, model):
    faces = aligned_faces(prepared, model)
    assert list(faces) == sorted(f"{name}/{name}_0001.png" for name in plqlite.sample_faces())
    for name, crop in faces.items():
        expected = plqlite.load_face(people / name, model)
        assert torch.equal(plqlite.load_face(crop, model, aligned=True), expected)


def test_one_bad_image_does_not_end_the_run(people, sface, tmp_path):
    """Whatever a decoder or a detector raises; and it is tried again, unlike what shows no face."""
    original, fails = dataset.read_image, [True]

    def read(path):
        if fails[0] and path.name in ("actor_0001.png", "group_1_0001.png"):
            raise (RuntimeError if path.name.startswith("a") else MemoryError)("out of luck")
        return original(path)

    photos, model = photos_of(people), sface
    assert len(dataset.prepare(photos, tmp_path / "out", [model], read)) == 7
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED).set_index("image")
    assert skipped["error"]["actor/actor_0001.png"] == "RuntimeError"
    assert skipped["error"]["group_1/group_1_0001.png"] == "MemoryError"
    fails[0] = False
    assert len(dataset.prepare(photos, tmp_path / "out", [model], read)) == 9
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED)
    assert set(skipped["error"]) == {"NoFaceFound", "UnreadableImage"}


def test_a_part_of_the_photos_does_not_erase_the_rest(prepared, people, sface, facenet):
    before = contents(prepared)
    one = dict(list(photos_of(people).items())[:1])
    index = dataset.prepare(one, prepared, [sface, facenet])
    assert list(index["image"]) == list(one)
    assert contents(prepared) == before


def test_names_that_would_collide_are_kept_apart(tmp_path):
    (tmp_path / "ada").mkdir()
    for name in ("1.jpg", "1.png", "2.JPEG", "notes.txt"):
        (tmp_path / "ada" / name).touch()
    (tmp_path / "folder.png").mkdir()
    photos = photos_of(tmp_path)
    assert {name: path.name for name, path in photos.items()} == {
        "ada/1.png": "1.jpg",
        "ada/1.png.png": "1.png",
        "ada/2.png": "2.JPEG",
    }
    assert {identity_of(name) for name in photos} == {"ada"}
    assert identity_of("ada.png/1.png") == "ada.png"
    assert identity_of("ada/2003/1.png") == "ada"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_not_utf_8_or_has_two_lines_can_be_indexed(people, sface, tmp_path):
    (tmp_path / "in").mkdir()
    for name in (b"/ada\xff.png", b"/bob\ncem.png"):
        target = os.fsencode(tmp_path / "in") + name
        shutil.copy(people / "astronaut" / "astronaut_0001.png", target)
        Path(os.fsdecode(target[:-4] + b"_broken.png")).write_text("broken")
    index = dataset.prepare(photos_of(tmp_path / "in"), tmp_path / "out", [sface])
    assert index["image"].tolist() == ["ada\\udcff.png", "bob cem.png"]
    assert len(open_table(tmp_path / "out" / "skipped.csv", SKIPPED)) == 2
    before = times(tmp_path / "out")
    dataset.prepare(photos_of(tmp_path / "in"), tmp_path / "out", [sface])
    assert times(tmp_path / "out") == before


def test_crops_of_a_folder_or_model_that_was_not_prepared_are_an_error(prepared, tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match=r"holds no index\.csv"):
        aligned_faces(tmp_path, tiny)
    with pytest.raises(FileNotFoundError, match="9 of 9 crops for tiny are missing"):
        aligned_faces(prepared, tiny)


# --- build: what a decoder or a detector raises is filed, what our own code raises is a bug ---

COLUMNS = {"image": str, "sha256": str}


@pytest.fixture
def letters(tmp_path):
    """Three files of text, which stand for photos."""
    (tmp_path / "letters").mkdir()
    paths = [tmp_path / "letters" / f"{name}.txt" for name in ("ada", "bob", "cem")]
    for path in paths:
        path.write_text(path.stem)
    return {f"{path.stem}.png": path for path in paths}


def grey(name, text):
    return {"image": name}, {"grey": np.full((2, 2, 3), len(text), np.uint8)}


def test_an_error_of_our_own_is_raised_and_files_nothing(letters, tmp_path):
    def faulty(name, text):
        if text == "bob":
            raise KeyError("a column that is not there")
        return grey(name, text)

    out = tmp_path / "out"
    with pytest.raises(KeyError, match="a column that is not there"):
        build(out, letters, COLUMNS, ["grey"], Path.read_text, faulty)
    assert len(open_table(out / "skipped.csv", SKIPPED)) == 0
    assert open_table(out / "index.csv", COLUMNS)["image"].tolist() == ["ada.png"]
    index = build(out, letters, COLUMNS, ["grey"], Path.read_text, grey)  # fixed: it resumes
    assert index["image"].tolist() == list(letters)
    assert set(contents(out / "grey")) == set(letters)


def test_an_error_of_reading_is_filed(letters, tmp_path):
    def load(path):
        if path.stem == "bob":
            raise RuntimeError("out of luck")
        return path.read_text()

    index = build(tmp_path / "out", letters, COLUMNS, ["grey"], load, grey)
    assert index["image"].tolist() == ["ada.png", "cem.png"]
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED)
    assert skipped[["image", "error", "reason"]].values.tolist() == [
        ["bob.png", "RuntimeError", "out of luck"]
    ]


def test_an_alignment_that_fails_ends_prepare(people, tmp_path):
    """A model's own alignment is no decoder: its error must be seen."""

    def broken(photo, face, size):
        raise ZeroDivisionError("a mistake of mine")

    model = plqlite.from_module(small(), "8", 16, align=broken, name="broken")
    with pytest.raises(ZeroDivisionError, match="a mistake of mine"):
        dataset.prepare(photos_of(people), tmp_path / "out", [model])
    assert len(open_table(tmp_path / "out" / "skipped.csv", SKIPPED)) == 0


@pytest.mark.parametrize("name", ["../actor.png", "actor/../../actor.png", "/tmp/actor.png", "", "."])
def test_an_index_names_nothing_outside_its_folder(prepared, sface, run_script, tmp_path, capsys, name):
    victim = tmp_path / "actor.png"
    victim.write_bytes(b"mine")
    index = prepared / "index.csv"
    text = index.read_text("utf-8").replace("actor/actor_0001.png", name, 1)
    index.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="which is not below"):
        aligned_faces(prepared, sface)
    with pytest.raises(SystemExit, match="1"):
        run_script("make_random_masks", prepared, "--out", tmp_path / "masks")
    assert "which is not below" in capsys.readouterr().err
    assert not list(tmp_path.rglob("masked"))
    with pytest.raises(ValueError, match="which is not below"):
        build(tmp_path / "out", {name: victim}, COLUMNS, ["grey"], Path.read_text, grey)
    assert victim.read_bytes() == b"mine"


def test_two_models_of_one_name_do_not_share_crops(people, sface, tiny, tmp_path):
    photos, twin = photos_of(people), tiny_model()
    twin.name = "sface"
    with pytest.raises(ValueError, match="Two of sface, sface have one name"):
        dataset.prepare(photos, tmp_path / "out", [sface, twin])
    dataset.prepare(dict(list(photos.items())[:1]), tmp_path / "out", [sface])
    for use in (dataset.prepare, lambda photos, folder, models: aligned_faces(folder, models[0])):
        with pytest.raises(ValueError, match=r"sface holds crops for another model of that name"):
            use(photos, tmp_path / "out", [twin])
    dataset.prepare({}, tmp_path / "out", [sface])
    assert len(aligned_faces(tmp_path / "out", sface)) == 1


def test_what_a_killed_run_has_left_is_removed(letters, tmp_path):
    left = tmp_path / "out" / "grey" / ".ada.png.0123.part"
    left.parent.mkdir(parents=True)
    left.touch()
    build(tmp_path / "out", letters, COLUMNS, ["grey"], Path.read_text, grey)
    assert not left.exists()


def test_a_name_that_no_file_can_have_is_skipped(tmp_path):
    paths = [tmp_path / f"{name}.txt" for name in ("a" * 250, "b")]
    for path in paths:
        path.write_text("x")
    sources = {f"{path.stem}_crop.png": path for path in paths}
    index = build(tmp_path / "out", sources, COLUMNS, ["grey"], Path.read_text, grey)
    assert index["image"].tolist() == ["b_crop.png"]
    (row,) = open_table(tmp_path / "out" / "skipped.csv", SKIPPED).to_dict("records")
    assert "A name of 259 bytes is too long for a file" in row["reason"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="other systems have no such pipes")
def test_what_is_no_photo_does_not_end_a_run(people, sface, tmp_path):
    """A pipe, a device, a folder and links to nowhere, all named like photos; and the longest name."""
    os.mkfifo(people / "pipe.jpg")
    (people / "zero.jpg").symlink_to("/dev/zero")
    (people / "folder.jpg").mkdir()
    (people / "nowhere.jpg").symlink_to("nothing")
    (people / "circle.jpg").symlink_to("circle.jpg")
    shutil.copy(people / "actor" / "actor_0001.png", people / ("x" * 251 + ".png"))
    odd = {f"{name}.png": people / f"{name}.jpg" for name in ("pipe", "zero", "folder", "nowhere", "circle")}
    index = dataset.prepare(photos_of(people) | odd, tmp_path / "out", [sface])
    assert len(index) == 10
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED).set_index("image")["reason"]
    assert set(odd) < set(skipped.index)
    assert "is a pipe or a device" in skipped["zero.png"]
