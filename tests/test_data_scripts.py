"""data_scripts/prepare_*.py and make_random_masks.py, end to end on folders that the tests make."""

import bz2
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets._lfw as sklearn_lfw
import torch
from PIL import Image

import plqlite
from conftest import ROOT
from plqlite import dataset
from plqlite.dataset import INDEX, SKIPPED, aligned_faces, identity_of, photos_of
from plqlite.disturb import COLOURS
from plqlite.experiment import cover
from plqlite.tables import open_table

LFW100 = ROOT.parent / "shared" / "data" / "lfw100"


def contents(folder, pattern="*"):
    """Return each file's bytes by name."""
    files = (path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def prepared(run_script, people, tmp_path):
    run_script("prepare_lfw", people, "--out", tmp_path / "aligned")
    return tmp_path / "aligned"


def test_crops_are_those_of_load_face(prepared, people, model):
    faces = aligned_faces(prepared, model)
    assert list(faces) == sorted(f"{name}/{name}_0001.png" for name in plqlite.sample_faces())
    for name, crop in faces.items():
        expected = plqlite.load_face(people / name, model)
        assert torch.equal(plqlite.load_face(crop, model, aligned=True), expected)


def test_the_index_says_where_each_face_was(prepared, people):
    index = open_table(prepared / "index.csv", INDEX)
    assert list(index.columns) == list(INDEX)
    for row in index.to_dict("records"):
        assert row["identity"] == row["image"].split("/")[0]
        photo = people / row["identity"] / row["source"]
        assert row["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
        assert row["left"] < row["left_eye_x"] < row["right_eye_x"] < row["right"]
        assert row["top"] < row["nose_y"] < row["left_mouth_y"] < row["bottom"]


def test_what_was_skipped_is_reported_with_the_reason(prepared):
    skipped = open_table(prepared / "skipped.csv", SKIPPED).set_index("image")["reason"]
    assert list(skipped.index) == ["letter.png", "nobody.png"]
    assert "cannot be read as an image" in skipped["letter.png"]
    assert "no face found in an image of 200×200" in skipped["nobody.png"]


def test_a_second_run_changes_nothing(prepared, run_script, people, capsys):
    before = times(prepared)
    run_script("prepare_lfw", people, "--out", prepared)
    assert times(prepared) == before
    assert "9 faces of 9 people" in capsys.readouterr().out


def test_nothing_is_lost_or_done_twice_after_an_interruption(prepared, run_script, people, monkeypatch):
    whole, calls, original = contents(prepared), [], dataset.find_faces
    shutil.rmtree(prepared)

    def interrupted(photo):
        calls.append(photo)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(photo)

    monkeypatch.setattr(dataset, "find_faces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_script("prepare_lfw", people, "--out", prepared)
    with (prepared / "index.csv").open("a") as index:
        index.write("group_2/group_2_0001.png,group_2,gro")  # a row that was cut off
    run_script("prepare_lfw", people, "--out", prepared)
    assert contents(prepared) == whole
    assert len(calls) == 10 + 1  # nine faces and nobody, and the one that was interrupted


def test_a_photo_that_has_changed_is_done_again(prepared, run_script, people):
    ada, bob = (people / f"{name}" / f"{name}_0001.png" for name in ("astronaut", "grace_hopper"))
    shutil.copy(bob, ada)  # another face under the old name
    (people / "letter.jpg").write_text("I am another letter")
    shutil.copy(bob, people / "nobody.png")
    next(people.rglob("actor_0001.png")).unlink()
    run_script("prepare_lfw", people, "--out", prepared)
    index = open_table(prepared / "index.csv", INDEX).set_index("image")
    assert len(index) == 10
    assert index.index[-1] == "actor/actor_0001.png"  # not asked for now, but nothing is thrown away
    crops = contents(prepared / "sface")
    assert crops["astronaut/astronaut_0001.png"] == crops["grace_hopper/grace_hopper_0001.png"]
    assert index["identity"]["nobody.png"] == "nobody"  # in no person's folder: a person of its own
    assert open_table(prepared / "skipped.csv", SKIPPED)["image"].tolist() == ["letter.png"]


def test_an_index_row_stands_for_crops_that_are_there(prepared, run_script, people, monkeypatch):
    """Interrupted between two crops of a face: it is done again as a whole."""
    whole, calls, original = contents(prepared), [], dataset.write_png
    shutil.rmtree(prepared)

    def interrupted(path, image):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(path, image)

    monkeypatch.setattr(dataset, "write_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_script("prepare_lfw", people, "--out", prepared)
    assert len(open_table(prepared / "index.csv", INDEX)) == 1
    run_script("prepare_lfw", people, "--out", prepared)
    assert contents(prepared) == whole
    assert len(calls) == 4 + 16


def test_the_largest_face_is_taken(run_script, tmp_path):
    """Two people in one photo, the larger on the right."""
    faces = plqlite.sample_faces()
    photo = np.zeros((512, 712, 3), np.uint8)
    photo[:240, :200] = np.array(Image.fromarray(faces["grace_hopper"]).resize((200, 240)))
    photo[:, 200:] = faces["astronaut"]
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in" / "two.png")
    run_script("prepare_lfw", tmp_path / "in", "--out", tmp_path / "out", "--model", "sface")
    assert open_table(tmp_path / "out" / "index.csv", INDEX)["left"][0] > 300


def test_one_bad_image_does_not_end_the_run(people, tmp_path, monkeypatch):
    """Whatever a decoder or a detector raises; and it is tried again, unlike what is no face."""
    original, fails = dataset.read_image, [True]

    def read(path):
        if fails[0] and path.name in ("actor_0001.png", "group_1_0001.png"):
            raise (RuntimeError if path.name.startswith("a") else MemoryError)("out of luck")
        return original(path)

    photos, model = photos_of(people), plqlite.sface("cpu")
    assert len(dataset.prepare(photos, tmp_path / "out", [model], read)) == 7
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED).set_index("image")
    assert skipped["error"]["actor/actor_0001.png"] == "RuntimeError"
    assert skipped["error"]["group_1/group_1_0001.png"] == "MemoryError"
    fails[0] = False
    assert len(dataset.prepare(photos, tmp_path / "out", [model], read)) == 9
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED)
    assert set(skipped["error"]) == {"NoFaceFound", "UnreadableImage"}


def test_a_part_of_the_photos_does_not_erase_the_rest(prepared, people):
    before = contents(prepared)
    one = dict(list(photos_of(people).items())[:1])
    index = dataset.prepare(one, prepared, [plqlite.sface("cpu"), plqlite.facenet(device="cpu")])
    assert list(index["image"]) == list(one)
    assert contents(prepared) == before


def test_crops_are_never_taken_for_photos(run_script, people, tmp_path, capsys):
    for script in ("prepare_lfw", "make_random_masks"):
        with pytest.raises(SystemExit) as end:
            run_script(script, people, "--out", people / "out")
        assert end.value.code == 2
        assert "crops would be taken for photos" in capsys.readouterr().err


def test_a_crop_that_is_missing_is_made_again(prepared, run_script, people):
    whole = contents(prepared)
    (prepared / "facenet" / "astronaut" / "astronaut_0001.png").unlink()
    run_script("prepare_lfw", people, "--out", prepared)
    assert contents(prepared) == whole


def test_a_face_at_the_border_is_aligned(run_script, tmp_path):
    photo = plqlite.sample_faces()["astronaut"][90:]  # the top of the face is cut off
    (tmp_path / "a").mkdir()
    Image.fromarray(photo).save(tmp_path / "a" / "1.png")
    run_script("prepare_lfw", tmp_path / "a", "--out", tmp_path / "out")
    assert len(open_table(tmp_path / "out" / "index.csv", INDEX)) == 1
    crop = np.array(Image.open(tmp_path / "out" / "sface" / "1.png"))
    assert crop.shape == (112, 112, 3)
    assert (crop[0] == 0).all()  # where the photo ends


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
def test_a_name_that_is_no_utf_8_or_two_lines_can_be_indexed(people, tmp_path):
    (tmp_path / "in").mkdir()
    for name in (b"/ada\xff.png", b"/bob\ncem.png"):
        target = os.fsencode(tmp_path / "in") + name
        shutil.copy(people / "astronaut" / "astronaut_0001.png", target)
        Path(os.fsdecode(target[:-4] + b"_broken.png")).write_text("broken")
    index = dataset.prepare(photos_of(tmp_path / "in"), tmp_path / "out", [plqlite.sface("cpu")])
    assert index["image"].tolist() == ["ada\\udcff.png", "bob cem.png"]
    assert len(open_table(tmp_path / "out" / "skipped.csv", SKIPPED)) == 2
    before = times(tmp_path / "out")
    dataset.prepare(photos_of(tmp_path / "in"), tmp_path / "out", [plqlite.sface("cpu")])
    assert times(tmp_path / "out") == before


def test_an_empty_folder_is_an_error(run_script, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for script in ("prepare_lfw", "prepare_colorferet"):
        with pytest.raises(SystemExit) as end:
            run_script(script, tmp_path / "in", "--out", tmp_path / "out")
        assert end.value.code == 2
        assert f"photos below {tmp_path / 'in'}" in capsys.readouterr().err


def test_lfw_is_downloaded_by_scikit_learn_and_its_hash_checked(
    run_script, people, tmp_path, monkeypatch, capsys
):
    """The real path, from an archive in the published layout."""
    archive = tmp_path / "lfw.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in ("astronaut", "grace_hopper"):
            content = io.BytesIO()
            Image.open(people / name / f"{name}_0001.png").resize((250, 250)).save(content, format="jpeg")
            member = tarfile.TarInfo(f"lfw/{name}/{name}_0001.jpg")
            member.size = content.tell()
            content.seek(0)
            packed.addfile(member, content)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    published = sklearn_lfw.ARCHIVE._replace(url=archive.as_uri(), checksum=sha256)
    monkeypatch.setattr(sklearn_lfw, "ARCHIVE", published)
    monkeypatch.setattr(sklearn_lfw, "TARGETS", ())  # lists of pairs, which we do not use
    run_script("prepare_lfw", "--out", tmp_path / "out", "--model", "sface")
    assert "2 faces of 2 people" in capsys.readouterr().out
    assert set(contents(tmp_path / "out" / "sface")) == {
        "astronaut/astronaut_0001.png",
        "grace_hopper/grace_hopper_0001.png",
    }
    originals = tmp_path / "out" / "originals"
    next(originals.rglob("astronaut_0001.jpg")).unlink()
    (originals / "complete").unlink()  # as if unpacking had been interrupted
    run_script("prepare_lfw", "--out", tmp_path / "out", "--model", "sface")
    assert "2 faces of 2 people" in capsys.readouterr().out
    assert len(list(originals.rglob("*.jpg"))) == 2
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(sklearn_lfw, "ARCHIVE", published._replace(checksum="0" * 64))
    with pytest.raises(SystemExit) as end, pytest.warns(UserWarning, match="SHA256"):
        run_script("prepare_lfw", "--out", tmp_path / "out", "--model", "sface")
    assert end.value.code == 1
    assert "LFW cannot be downloaded" in capsys.readouterr().err


def test_colorferet_as_nist_gives_it_out(run_script, tmp_path, capsys):
    def packed(photo, path):
        content = io.BytesIO()
        Image.fromarray(photo).save(content, format="ppm")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bz2.compress(content.getvalue()) if path.suffix == ".bz2" else content.getvalue())

    faces, copy = plqlite.sample_faces(), tmp_path / "thumbnails" / "colorferet"
    first, second = (copy / dvd / "data" for dvd in ("dvd1", "dvd2"))
    packed(faces["astronaut"], first / "images" / "00001" / "00001_930831_fa_a.ppm.bz2")
    packed(faces["astronaut"], first / "images" / "00001" / "00001_930831_fb_a.ppm.bz2")
    packed(faces["astronaut"], first / "images" / "00001" / "00001_930831_hl_a.ppm.bz2")  # a half profile
    packed(faces["astronaut"], first / "smaller" / "00001" / "00001_930831_fa_a.ppm.bz2")
    packed(faces["astronaut"], first / "thumbnails" / "00003" / "00003_930831_fa_a.ppm.bz2")
    packed(faces["grace_hopper"], second / "images" / "00740" / "00740_941201_fa.ppm")  # unpacked, no letter
    packed(faces["grace_hopper"], second / "images" / "00740" / "00740_941201_fa.ppm.bz2")
    packed(np.zeros((200, 200, 3), np.uint8), second / "images" / "00741" / "00741_941201_fa.ppm.bz2")
    broken = second / "images" / "00742" / "00742_941201_fb.ppm.bz2"
    packed(faces["actor"], broken)
    broken.write_bytes(broken.read_bytes()[:1000])  # cut off
    broken.with_name("00742_941202_fb.ppm.bz2").write_bytes(b"never packed")

    run_script("prepare_colorferet", copy, "--out", tmp_path / "out", "--model", "sface")
    index = open_table(tmp_path / "out" / "index.csv", INDEX)
    assert index["image"].tolist() == [
        "00001/00001_930831_fa_a.png",
        "00001/00001_930831_fb_a.png",
        "00740/00740_941201_fa.png",
    ]
    assert index["identity"].tolist() == ["00001", "00001", "00740"]
    skipped = open_table(tmp_path / "out" / "skipped.csv", SKIPPED).set_index("image")["reason"]
    assert len(skipped) == 3
    assert "no face found" in skipped["00741/00741_941201_fa.png"]
    assert "cannot be unpacked" in skipped["00742/00742_941201_fb.png"]
    assert "cannot be unpacked" in skipped["00742/00742_941202_fb.png"]
    assert "3 faces of 2 people" in capsys.readouterr().out
    crop = plqlite.load_face(tmp_path / "out" / "sface" / index["image"][0], plqlite.sface("cpu"), True)
    assert torch.equal(crop, plqlite.load_face(faces["astronaut"], plqlite.sface("cpu")))


def masks(folder, out, *options):
    script = ROOT / "data_scripts" / "make_random_masks.py"
    return [sys.executable, str(script), str(folder), "--out", str(out), *options]


def test_random_masks_of_a_prepared_folder(run_script, prepared, tmp_path, model):
    out = tmp_path / "masks"
    run_script("make_random_masks", prepared, "--out", out, "--model", model.name)
    index = pd.read_csv(out / "index.csv")
    assert len(index) == 45
    assert index["identity"].nunique() == 9
    assert set(contents(out / "masked", "*.png")) == set(index["image"])
    for row in index.to_dict("records"):
        name = row["image"].split("/", 1)[1]
        clean = np.array(Image.open(prepared / model.name / name))
        masked = np.array(Image.open(out / "masked" / row["image"]))
        assert row["side"] == round(row["size"] * model.size / 112)
        square = np.s_[row["top"] : row["top"] + row["side"], row["left"] : row["left"] + row["side"]]
        assert (masked[square] == 0).all()
        face = plqlite.load_face(prepared / model.name / name, model, aligned=True)[0]
        experiment, _ = cover(face, name, row["size"], COLOURS["black"], row["seed"])
        assert (masked == experiment.permute(1, 2, 0).numpy()).all()  # the experiment's own places
        masked[square] = clean[square]
        assert (masked == clean).all()


def test_random_masks_are_drawn_by_seed_and_name(run_script, people, prepared, tmp_path, capsys):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_script("make_random_masks", prepared, "--out", tmp_path / out, "--seed", seed)
    a, b, c = (contents(tmp_path / out) for out in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a if name.endswith(".png"))
    for name in ("astronaut", "grace_hopper", "actor"):
        shutil.rmtree(people / name)
    run_script("prepare_lfw", people, "--out", tmp_path / "fewer")
    run_script("make_random_masks", tmp_path / "fewer", "--out", tmp_path / "d")
    d = contents(tmp_path / "d", "*.png")
    assert len(d) == 30
    assert all(a[name] == content for name, content in d.items())  # of fewer faces: the same places
    for wrong in ([prepared, "--seed", -1], [tmp_path / "nowhere"]):
        with pytest.raises(SystemExit) as end:
            run_script("make_random_masks", *wrong, "--out", tmp_path / "e")
        assert end.value.code == 2
        assert not (tmp_path / "e").exists()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_script("make_random_masks", prepared, "--out", tmp_path / "a", "--seed", 1)
    assert "was made with another seed than 1" in capsys.readouterr().err
    assert contents(tmp_path / "a") == a


def test_a_damaged_crop_does_not_end_the_run(run_script, prepared, tmp_path):
    (prepared / "sface" / "actor" / "actor_0001.png").write_bytes(b"damaged")
    Image.new("RGB", (50, 50)).save(prepared / "sface" / "astronaut" / "astronaut_0001.png")
    run_script("make_random_masks", prepared, "--out", tmp_path / "masks")
    reasons = pd.read_csv(tmp_path / "masks" / "skipped.csv")["reason"]
    assert len(pd.read_csv(tmp_path / "masks" / "index.csv")) == 35
    assert reasons.str.contains("cannot be read").sum() == 5
    assert reasons.str.contains("found 50×50").sum() == 5


def test_killed_half_way_and_run_again_gives_the_same_files(run_script, people, prepared, tmp_path):
    """A real process, really killed, on LFW where it is and on the sample faces elsewhere."""
    folder = LFW100 if LFW100.exists() else people
    faces = len(photos_of(LFW100)) if LFW100.exists() else 9
    aligned, whole, out = (tmp_path / name for name in ("a", "whole", "killed"))
    run_script("prepare_lfw", folder, "--out", aligned, "--model", "sface")
    subprocess.run(masks(aligned, whole), check=True, capture_output=True)
    expected = contents(whole)
    assert len([name for name in expected if name.endswith(".png")]) == 5 * faces

    process = subprocess.Popen(masks(aligned, out), stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.rglob("*.png"))) < 5 * faces / 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    assert process.wait() != 0
    assert 0 < len(list(out.rglob("*.png"))) < 5 * faces
    subprocess.run(masks(aligned, out), check=True, capture_output=True)
    assert contents(out) == expected
    before = times(out)
    subprocess.run(masks(aligned, out), check=True, capture_output=True)
    assert times(out) == before


def test_a_folder_of_photos_is_aligned_first(run_script, people, tmp_path):
    run_script("make_random_masks", people, "--out", tmp_path / "masks")
    assert len(pd.read_csv(tmp_path / "masks" / "index.csv")) == 45
    assert len(open_table(tmp_path / "masks" / "aligned" / "skipped.csv", SKIPPED)) == 2


def test_crops_of_a_folder_or_model_that_was_not_prepared_are_an_error(prepared, tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match=r"holds no index\.csv"):
        aligned_faces(tmp_path, tiny)
    with pytest.raises(FileNotFoundError, match="9 of 9 crops for tiny are missing"):
        aligned_faces(prepared, tiny)


def test_adience_and_vggface2_as_they_come(run_script, tmp_path, capsys):
    faces = plqlite.sample_faces()
    places = {
        "adience/faces/7153718@N04/coarse_tilt_aligned_face.2282.11597935265_29bcdfa4a5_o.jpg": "astronaut",
        "adience/faces/7153718@N04/coarse_tilt_aligned_face.2283.11597935265_29bcdfa4a5_o.jpg": "actor",
        "adience/aligned/7153718@N04/landmark_aligned_face.2282.11597935265_29bcdfa4a5_o.jpg": "astronaut",
        "vggface2/test/n000001/0001_01.jpg": "grace_hopper",
        "vggface2/test/n000001/0002_01.jpg": "grace_hopper",
        "vggface2/test/n000009/0001_02.jpg": "actor",
        "vggface2/test/meta/0001_01.jpg": "astronaut",
    }
    for place, person in places.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces[person]).save(tmp_path / place, quality=95)
    (tmp_path / "vggface2" / "test" / "n000009" / "0003_01.jpg").write_text("broken")
    options = ("--out", tmp_path / "a", "--model", "sface")
    run_script("prepare_adience", tmp_path / "adience", *options)
    assert "2 faces of 2 people" in capsys.readouterr().out
    assert open_table(tmp_path / "a" / "index.csv", INDEX)["image"].tolist() == [
        "7153718@N04_2282/11597935265_29bcdfa4a5_o.png",
        "7153718@N04_2283/11597935265_29bcdfa4a5_o.png",
    ]
    options = ("--out", tmp_path / "v", "--model", "sface")
    run_script("prepare_vggface2", tmp_path / "vggface2", *options, "--per-person", 1)
    assert "2 faces of 2 people" in capsys.readouterr().out
    run_script("prepare_vggface2", tmp_path / "vggface2", *options)
    assert "3 faces of 2 people in" in capsys.readouterr().out
    images = open_table(tmp_path / "v" / "index.csv", INDEX)["image"].tolist()
    assert images == ["n000001/0001_01.png", "n000001/0002_01.png", "n000009/0001_02.png"]
    for script in ("prepare_adience", "prepare_vggface2"):
        with pytest.raises(SystemExit) as end:
            run_script(script, tmp_path / "a", "--out", tmp_path / "other")
        assert end.value.code == 2
        assert "no faces below" in capsys.readouterr().err


@pytest.fixture
def two_people(people, tmp_path):
    for name in ("astronaut", "group_3"):
        shutil.copytree(people / name, tmp_path / "two" / name)
    return tmp_path / "two"


def test_the_inpainted_set_of_occluded_photos(run_script, two_people, tmp_path, capsys):
    out, options = tmp_path / "out", ("--occlude", "hair", "square", "--seed", 2)
    run_script("make_inpainted", two_people, "--out", out, *options)
    printed = capsys.readouterr().out
    assert "4 images, an unusually low region in" in printed
    index = pd.read_csv(out / "index.csv")
    assert index["kind"].tolist() == ["hair", "square"] * 2
    assert index["identity"].tolist() == ["astronaut"] * 2 + ["group_3"] * 2
    for row in index.to_dict("records"):
        original, mask, inpainted, truth = (
            np.array(Image.open(out / variant / row["image"]))
            for variant in ("original", "mask", "inpainted", "truth")
        )
        assert (original == inpainted)[mask == 0].all()
        assert (mask > 0).mean() == pytest.approx(row["area"], abs=1e-6)
        assert (row["area"] > 0) == (row["score"] > 0)
        found, true = mask[..., 0] > 0, truth[..., 0] > 0
        assert row["iou"] == pytest.approx((found & true).sum() / (found | true).sum(), abs=1e-6)
        model = plqlite.sface("cpu")
        face = plqlite.load_face(out / "inpainted" / row["image"], model, aligned=True)
        assert plqlite.ser_fiq_closed_form(model, face).item() == pytest.approx(row["low"], abs=2e-4)
    squares = index[index["kind"] == "square"]["image"]
    one, other = (np.array(Image.open(out / "truth" / image)) > 0 for image in squares)
    assert (one & other).sum() < 0.5 * (one | other).sum()  # each its own draw
    before, whole = times(out), contents(out)
    run_script("make_inpainted", two_people, "--out", out, *options)
    assert times(out) == before
    lines = (out / "index.csv").read_text("utf-8").splitlines(keepends=True)
    (out / "index.csv").write_text("".join(lines[:2]) + lines[2][:9], "utf-8")  # killed
    (out / "mask" / "hair" / "group_3" / "group_3_0001.png").unlink()
    run_script("make_inpainted", two_people, "--out", out, *options)
    assert contents(out) == whole
    with pytest.raises(SystemExit):
        run_script("make_inpainted", two_people, "--out", out, *options, "--inpainter", "telea")
    assert "was made with another inpainter than telea" in capsys.readouterr().err


def test_the_inpainted_set_of_prepared_faces_photos_and_the_sample(
    run_script, prepared, two_people, tmp_path, capsys
):
    run_script("make_inpainted", prepared, "--out", tmp_path / "a", "--model", "facenet")
    assert "9 images" in capsys.readouterr().out
    run_script("make_inpainted", two_people, "--out", tmp_path / "b", "--inpainter", "mirror")
    assert "2 images" in capsys.readouterr().out
    run_script("make_inpainted", "sample", "--out", tmp_path / "c")
    assert "9 images" in capsys.readouterr().out
    first, second = (pd.read_csv(tmp_path / each / "index.csv") for each in "bc")
    assert set(first["inpainter"]) == set(second["inpainter"]) == {"mirror"}
    assert first["iou"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--occlude", "hat"], "--occlude hat: choose from square"),
        (["--seed", "-1"], "a seed is 0 or more"),
        (["--inpainter", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_bad_arguments_of_make_inpainted_are_named(
    run_script, two_people, tmp_path, capsys, arguments, message
):
    with pytest.raises(SystemExit) as end:
        run_script("make_inpainted", two_people, "--out", tmp_path / "out", *arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_average_of_the_sample_faces_is_not_for_them(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_script("make_inpainted", "sample", "--out", tmp_path, "--inpainter", "average")
    assert "choose another for them" in capsys.readouterr().err
