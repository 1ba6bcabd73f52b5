"""data_scripts/prepare_*.py, end to end on folders that the tests make."""

import bz2
import hashlib
import io
import shutil
import tarfile

import numpy as np
import pytest
import sklearn.datasets._lfw as sklearn_lfw
import torch
from PIL import Image

import plqlite
from conftest import contents, times
from plqlite import faces
from plqlite.experiments import build
from plqlite.experiments.build import SKIPPED
from plqlite.experiments.dataset import INDEX
from plqlite.experiments.tables import open_table


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
    assert "No face found in an image of 200×200" in skipped["nobody.png"]


def test_a_second_run_changes_nothing(prepared, run_script, people, capsys):
    before = times(prepared)
    run_script("prepare_lfw", people, "--out", prepared)
    assert times(prepared) == before
    assert "9 faces of 9 subjects" in capsys.readouterr().out


def test_nothing_is_lost_or_done_twice_after_an_interruption(prepared, run_script, people, monkeypatch):
    whole, calls, original = contents(prepared), [], faces.find_faces
    shutil.rmtree(prepared)

    def interrupted(photo):
        calls.append(photo)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(photo)

    monkeypatch.setattr(faces, "find_faces", interrupted)
    with pytest.raises(SystemExit, match="130"):
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
    assert index["identity"]["nobody.png"] == "nobody"  # in no subject's folder: a subject of its own
    assert open_table(prepared / "skipped.csv", SKIPPED)["image"].tolist() == ["letter.png"]


def test_an_index_row_stands_for_crops_that_are_there(prepared, run_script, people, monkeypatch):
    """Interrupted between two crops of a face: it is done again as a whole."""
    whole, calls, original = contents(prepared), [], build.write_png
    shutil.rmtree(prepared)

    def interrupted(path, image):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(path, image)

    monkeypatch.setattr(build, "write_png", interrupted)
    with pytest.raises(SystemExit, match="130"):
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
    assert "2 faces of 2 subjects" in capsys.readouterr().out
    assert set(contents(tmp_path / "out" / "sface")) == {
        "astronaut/astronaut_0001.png",
        "grace_hopper/grace_hopper_0001.png",
    }
    originals = tmp_path / "out" / "originals"
    next(originals.rglob("astronaut_0001.jpg")).unlink()
    (originals / "complete").unlink()  # as if unpacking had been interrupted
    run_script("prepare_lfw", "--out", tmp_path / "out", "--model", "sface")
    assert "2 faces of 2 subjects" in capsys.readouterr().out
    assert len(list(originals.rglob("*.jpg"))) == 2
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(sklearn_lfw, "ARCHIVE", published._replace(checksum="0" * 64))
    with pytest.raises(SystemExit) as end, pytest.warns(UserWarning, match="SHA256"):
        run_script("prepare_lfw", "--out", tmp_path / "out", "--model", "sface")
    assert end.value.code == 1
    assert "LFW cannot be downloaded" in capsys.readouterr().err


def test_colorferet_as_nist_distributes_it(run_script, tmp_path, capsys):
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
    assert "No face found" in skipped["00741/00741_941201_fa.png"]
    assert "cannot be unpacked" in skipped["00742/00742_941201_fb.png"]
    assert "cannot be unpacked" in skipped["00742/00742_941202_fb.png"]
    assert "3 faces of 2 subjects" in capsys.readouterr().out
    crop = plqlite.load_face(
        tmp_path / "out" / "sface" / index["image"][0], plqlite.sface(device="cpu"), True
    )
    assert torch.equal(crop, plqlite.load_face(faces["astronaut"], plqlite.sface(device="cpu")))


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
    assert "2 faces of 2 subjects" in capsys.readouterr().out
    assert open_table(tmp_path / "a" / "index.csv", INDEX)["image"].tolist() == [
        "7153718@N04_2282/11597935265_29bcdfa4a5_o.png",
        "7153718@N04_2283/11597935265_29bcdfa4a5_o.png",
    ]
    options = ("--out", tmp_path / "v", "--model", "sface")
    run_script("prepare_vggface2", tmp_path / "vggface2", *options, "--per-person", 1)
    assert "2 faces of 2 subjects" in capsys.readouterr().out
    run_script("prepare_vggface2", tmp_path / "vggface2", *options)
    assert "3 faces of 2 subjects in" in capsys.readouterr().out
    images = open_table(tmp_path / "v" / "index.csv", INDEX)["image"].tolist()
    assert images == ["n000001/0001_01.png", "n000001/0002_01.png", "n000009/0001_02.png"]
    for script in ("prepare_adience", "prepare_vggface2"):
        with pytest.raises(SystemExit) as end:
            run_script(script, tmp_path / "a", "--out", tmp_path / "other")
        assert end.value.code == 2
        assert "no photos below" in capsys.readouterr().err
