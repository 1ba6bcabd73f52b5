"""A data set is scored once and whole, whatever is in it and whenever a run is killed."""

import errno
import os
import platform
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import plqlite
from conftest import ROOT, tiny_model
from plqlite.faces import FACE_COLUMNS, REGIONS, align_arcface, find_spec, largest_face
from plqlite.locks import InUse, locked
from plqlite.scale import crops as crops_module
from plqlite.scale import scorer, shards
from plqlite.scale.commands import parse
from plqlite.scale.crops import Options, prepare
from plqlite.scale.inputs import Item, find_items
from plqlite.scale.runner import Counts, prepared_batches, progress, score
from plqlite.scale.scorer import Scorer

ASTRONAUT = plqlite.sample_faces()["astronaut"]
OPTIONS = Options(align_arcface, 112)


def names(source, **options):
    return [item.name for item in find_items(source, **options)]


def write(path, pixels=ASTRONAUT, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


# --- what is to be scored ---


def test_files_come_in_order_with_the_person_s_folder(tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/x/3.png", "4.txt", ".hidden", ".git/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["4.txt", "a/x/3.png", "b/1.jpg", "b/2.jpg"]
    assert [item.identity for item in find_items(tmp_path)] == [None, "a", "b", "b"]


def test_the_folder_that_is_written_to_does_not_count(tmp_path):
    (tmp_path / "1.jpg").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-000000.parquet").touch()
    assert names(tmp_path, leave_out=tmp_path / "out") == ["1.jpg"]
    assert len(names(tmp_path)) == 2


def test_links_are_followed_but_not_back(tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "2.jpg").touch()
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "a" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "round").symlink_to(tmp_path / "photos" / "round")
    (tmp_path / "photos" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert names(tmp_path / "photos") == ["a/1.jpg", "b/2.jpg", "gone.jpg", "round"]


def test_a_folder_that_cannot_be_listed_is_found_itself(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    (item,) = find_items(tmp_path)
    assert item.name == "closed"
    assert "is a folder" in prepare(item, OPTIONS).error


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_index_names_files_and_people(tmp_path, suffix):
    table = pd.DataFrame({"path": ["b.jpg", "a.jpg", "b.jpg"], "identity": ["None", "Ada", "None"], "age": 3})
    index = tmp_path / f"index{suffix}"
    table.to_csv(index, index=False) if suffix == ".csv" else table.to_parquet(index)
    items = list(find_items(index))
    assert items == [
        Item(str(tmp_path / "b.jpg"), "b.jpg", "None"),
        Item(str(tmp_path / "a.jpg"), "a.jpg", "Ada"),
    ]


def test_names_that_are_no_utf_8_are_kept_in_an_index_and_as_subjects(tmp_path):
    folder = os.fsencode(tmp_path / "photos") + b"/Ren\xe9"
    os.makedirs(folder)
    Path(os.fsdecode(folder + b"/1.jpg")).touch()
    (item,) = find_items(tmp_path / "photos")
    assert (item.file, item.identity) == (b"Ren\xe9/1.jpg", r"Ren\xe9")
    (tmp_path / "photos" / "index.csv").write_bytes(b"path,identity\nRen\xe9/1.jpg,Ren\xe9\nb.jpg,\n")
    named, nobody = find_items(tmp_path / "photos" / "index.csv")
    assert named == item
    assert nobody.identity is None


def test_an_index_without_paths_or_that_is_none(tmp_path):
    index = tmp_path / "index.csv"
    index.write_text("file,age\n1.jpg,3\n")
    with pytest.raises(ValueError, match=r"has no column path \(it has: file, age\)"):
        find_items(index)
    for name in ("index.csv", "index.parquet"):
        (tmp_path / name).write_bytes(b"\0\x01\x02" * 100 if name.endswith("t") else b"")
        with pytest.raises(ValueError, match="cannot be read as a table"):
            find_items(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_items(tmp_path / "nowhere")


# --- one file ---


def error_of(path, **changes):
    return prepare(Item(str(path), "x", None), OPTIONS._replace(**changes)).error


def test_what_cannot_be_read_is_an_error_row_and_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    write(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9000])
    write(tmp_path / "empty.png", np.zeros((200, 200, 3), np.uint8))
    assert error_of(tmp_path / "pipe.jpg").startswith("OSError: ")
    assert "pipe or a device" in error_of(tmp_path / "pipe.jpg")
    assert "pipe or a device" in error_of("/dev/zero")
    assert error_of(tmp_path / "text.jpg").startswith("UnreadableImage: ")
    assert error_of(tmp_path / "half.jpg").startswith("UnreadableImage: ")
    assert error_of(tmp_path / "empty.png").startswith("NoFaceFound: ")
    assert error_of(tmp_path / "gone.jpg").startswith("FileNotFoundError: ")
    assert error_of(tmp_path).startswith("IsADirectoryError: ")


def test_whatever_a_library_raises_is_an_error_row(tmp_path, monkeypatch):
    def allocate(photo):
        raise RuntimeError("not enough memory: you tried to allocate 1 TB")

    monkeypatch.setattr(crops_module, "require_faces", allocate)
    assert error_of(write(tmp_path / "x.png")).startswith("RuntimeError: not enough memory")
    # A DDS whose kind of pixels nobody knows: Pillow raises NotImplementedError.
    header = struct.pack("<31I", 124, 0x1007, 32, 32, *[0] * 14, 32, 0, 0x20000, *[0] * 10)
    (tmp_path / "x.dds").write_bytes(b"DDS " + header + bytes(5000))
    assert error_of(tmp_path / "x.dds").startswith("UnreadableImage: ")


@pytest.mark.parametrize("suffix", ["webp", "tif", "bmp", "png"])
def test_other_formats_are_read(tmp_path, suffix):
    assert error_of(write(tmp_path / f"x.{suffix}")) is None


def test_heic_is_read_or_the_plugin_is_named(tmp_path):
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert "pip install pillow-heif" in error_of(tmp_path / "x.heic")
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.from_pillow(Image.fromarray(ASTRONAUT)).save(tmp_path / "good.heic")
        assert error_of(tmp_path / "good.heic") is None


def test_crops_are_taken_as_they_are_or_refused(tmp_path):
    crop = write(tmp_path / "crop.png", np.full((112, 112, 3), 90, np.uint8))
    done = prepare(Item(str(crop), "crop.png", None), OPTIONS._replace(aligned=True))
    assert done.error is None
    assert done.faces == [None]
    assert (done.crops == 90).all()
    assert "has 112×112 pixels, found 512×512" in error_of(write(tmp_path / "photo.png"), aligned=True)


def test_the_largest_face_or_every_one(tmp_path):
    two = np.concatenate([ASTRONAUT, np.array(Image.fromarray(ASTRONAUT).resize((256, 512)))], axis=1)
    item = Item(str(write(tmp_path / "two.png", two)), "two.png", None)
    largest, both = prepare(item, OPTIONS), prepare(item, OPTIONS._replace(every=True))
    assert [len(each.faces) for each in (largest, both)] == [1, 2]
    np.testing.assert_array_equal(largest.crops[0], both.crops[0])
    width = both.faces[1].box[2] - both.faces[1].box[0]
    assert len(prepare(item, OPTIONS._replace(every=True, smallest=width + 1)).faces) == 1
    assert "No face is at least 500 pixels wide" in prepare(item, OPTIONS._replace(smallest=500)).error


# --- rows ---


def test_a_row_has_what_explain_and_advise_say(tmp_path):
    model = plqlite.sface(device="cpu")
    items = [Item(str(write(tmp_path / "a.png")), "a.png", "Eileen"), Item("gone.png", "gone.png", None)]
    options = Options(model.align, model.size)
    row, missing = Scorer(model, maps=True)([prepare(item, options) for item in items])
    images = plqlite.load_face(ASTRONAUT, model)
    explanation = plqlite.explain(model, images)
    advice, face = plqlite.advise(model, explanation), largest_face(ASTRONAUT)
    assert (row["file"], row["path"], row["identity"], row["face"]) == (b"a.png", "a.png", "Eileen", 0)
    np.testing.assert_allclose([row[name] for name in FACE_COLUMNS], [*face.box, *face.landmarks.flatten()])
    assert row["detector"] == face.score
    assert row["quality"] == pytest.approx(explanation.quality.item(), abs=1e-6)
    assert row["scaled_quality"] == pytest.approx(explanation.scaled_quality.item(), abs=1e-4)
    assert row["percentile"] == pytest.approx(advice.percentile, abs=1e-2)
    assert row["low"] == advice.low
    for part in REGIONS:
        assert row["z_" + part.replace(" ", "_")] == pytest.approx(advice.z[part], abs=1e-3)
    pattern = np.frombuffer(row["pattern"], np.uint8).reshape(112, 112)
    np.testing.assert_allclose(pattern / 255, explanation.pattern[0], atol=0.51 / 255)
    assert len(row["plq"]) == 112 * 112
    assert missing["path"] == "gone.png"
    assert missing["error"].startswith("FileNotFoundError")
    assert "quality" not in missing


@pytest.mark.filterwarnings("ignore:tiny is not calibrated")
def test_a_model_without_constants_has_fewer_numbers(tmp_path):
    model = tiny_model()
    model.scaling = None
    crop = write(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    options = Options(model.align, model.size, aligned=True)
    (row,) = Scorer(model)([prepare(Item(str(crop), "a.png", None), options)])
    assert {"scaled_quality", "percentile", "low", "detector"} & row.keys() == set()
    assert 0 < row["quality"] < 1


def test_a_crop_that_is_no_face_does_not_stop_the_others(tmp_path):
    model = tiny_model()
    pixels = [np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8) for seed in range(3)]
    pixels[1] %= 2  # a mask
    paths = [write(tmp_path / f"{number}.png", each) for number, each in enumerate(pixels)]
    options = Options(model.align, model.size, aligned=True)
    rows = Scorer(model)([prepare(Item(str(path), path.name, None), options) for path in paths])
    assert [row["path"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert ["quality" in row for row in rows] == [True, False, True]
    assert rows[1]["error"].startswith("ValueError: Pixels lie in 0..1")


# --- a whole data set ---


@pytest.fixture
def photos(tmp_path):
    """Forty crops for `tiny_model`, and four files that are none; names that are hard to hold."""
    folder, random_ = tmp_path / "photos", np.random.default_rng(0)
    for number in range(40):
        write(folder / f"p{number % 7}" / f"{number}.png", random_.integers(0, 255, (16, 16, 3), np.uint8))
    shutil.copy(folder / "p0" / "0.png", folder / "with space, comma.png")
    shutil.copy(folder / "p0" / "0.png", folder / "two\nlines é.png")
    shutil.copy(folder / "p0" / "0.png", os.fsencode(folder) + b"/no utf-8 \xff.png")
    (folder / "notes.txt").write_text("no image")
    os.mkfifo(folder / "pipe")
    return folder


def run(photos, out, **options):
    options = {"aligned": True, "workers": 0, "batch": 7} | options
    return score(photos, out, tiny_model(), **options)


def table(out):
    return shards.read_rows(out).to_pandas().sort_values("file", ignore_index=True)


def test_every_file_has_its_row(photos, tmp_path):
    out = tmp_path / "out"
    assert run(photos, out) == Counts(files=45, faces=43, errors=2, before=0)
    rows = table(out)
    assert sorted(rows["file"]) == sorted(os.fsencode(name) for name in names(photos))
    assert set(rows.loc[rows["error"].notna(), "path"]) == {"notes.txt", "pipe"}
    assert r"no utf-8 \xff.png" in set(rows["path"])
    assert "two\nlines é.png" in set(rows["path"])
    assert rows["quality"].notna().sum() == 43
    pd.testing.assert_frame_equal(pd.read_parquet(out / "scores"), shards.read_rows(out).to_pandas())


def test_another_run_does_only_what_is_new(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    before = table(out)
    assert run(photos, out) == Counts(0, 0, 0, before=45)
    shutil.copy(photos / "p0" / "0.png", photos / "new.png")
    assert run(photos, out) == Counts(1, 1, 0, before=45)
    after = table(out)
    pd.testing.assert_frame_equal(after[after["path"] != "new.png"].reset_index(drop=True), before)


def test_worker_processes_give_the_same_rows(photos, tmp_path):
    run(photos, tmp_path / "one")
    run(photos, tmp_path / "two", workers=2, batch=5)
    pd.testing.assert_frame_equal(table(tmp_path / "one"), table(tmp_path / "two"), rtol=1e-5, atol=1e-6)


def test_explain_gets_the_batch_that_was_asked_for(photos, tmp_path, monkeypatch):
    sizes, real = [], scorer.explain
    monkeypatch.setattr(
        scorer,
        "explain",
        lambda model, images, batch: sizes.append((len(images), batch)) or real(model, images),
    )
    run(photos, tmp_path / "out", batch=40)
    assert len(sizes) == 2
    assert sum(size for size, _ in sizes) == 43
    assert {batch for _, batch in sizes} == {40}


def test_the_folder_may_lie_among_the_photos(photos):
    assert run(photos, photos / "scores").files == 45
    assert run(photos, photos / "scores") == Counts(0, 0, 0, before=45)


def test_other_settings_are_refused_and_named(photos, tmp_path):
    run(photos, tmp_path / "out")
    with pytest.raises(ValueError, match="was filled with maps=False, not maps=True: take another folder"):
        run(photos, tmp_path / "out", maps=True)
    other = tiny_model()
    other.name = "other"
    with pytest.raises(ValueError, match="was filled with model='tiny', not model='other'"):
        score(photos, tmp_path / "out", other, aligned=True, workers=0)


def test_other_reference_statistics_are_other_settings(tiny_reference, tmp_path):
    (tmp_path / "photos").mkdir()
    score(tmp_path / "photos", tmp_path / "out", tiny_reference, workers=0)
    score(tmp_path / "photos", tmp_path / "out", tiny_reference, workers=0)
    tiny_reference.reference_statistics = None
    with pytest.raises(ValueError, match=r"was filled with reference_statistics='.*', not"):
        score(tmp_path / "photos", tmp_path / "out", tiny_reference, workers=0)


def test_photos_may_move_but_others_do_not_come_in_their_place(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    shutil.copytree(photos / "p0", tmp_path / "others" / "p0")
    with pytest.raises(ValueError, match=r"was filled from .*photos, which is still there: take another"):
        run(tmp_path / "others", out)
    assert run(photos.rename(tmp_path / "moved"), out) == Counts(0, 0, 0, before=45)
    assert shards.read_settings(out)["source"] == str(tmp_path / "moved")


def test_the_folder_of_the_photos_is_none_for_the_scores(photos):
    with pytest.raises(ValueError, match="holds the photos: name another folder for the scores"):
        run(photos, photos)
    assert not (photos / "settings.json").exists()


def test_only_files_of_its_own_are_cleaned_up(photos, tmp_path):
    out = tmp_path / "out"
    (out / "scores").mkdir(parents=True)
    mine = [out / ".settings.json.0123.part", out / "scores" / ".part-000000.parquet.0123.part"]
    other = out / "lfw" / ".index.csv.0123.part"
    other.parent.mkdir()
    for path in (*mine, other):
        path.touch()
    run(photos, out)
    assert [path.exists() for path in (*mine, other)] == [False, False, True]


def test_settings_of_something_else(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match=r"settings\.json is damaged \(it names no model\)"):
        shards.read_settings(tmp_path)


def test_ray_that_is_not_installed_is_said_at_once(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("plqlite.scale.runner.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs Ray: run  pip install -e \"\.\[scale\]\""):
        run(photos, tmp_path / "out", engine="ray", workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [["--address", "auto"], ["--gpus", "1"]])
def test_options_of_ray_need_ray(option, capsys):
    with pytest.raises(SystemExit):
        parse(["photos", "--out", "out", *option])
    assert "--address and --gpus belong to --engine ray" in capsys.readouterr().err
    assert parse(["photos", "--out", "out", "--engine", "ray", *option]).engine == "ray"


@pytest.mark.parametrize("options", [{"engine": "dask"}, {"engine": "ray", "workers": 0}])
def test_an_engine_that_cannot_run_is_refused_before_anything_is_written(photos, tmp_path, options):
    with pytest.raises(ValueError, match="choose processes, or ray with 1 or more"):
        run(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once(photos, tmp_path):
    with locked(tmp_path / "out" / "scores"), pytest.raises(InUse, match=f"process {os.getpid()} on"):
        run(photos, tmp_path / "out")


def test_a_full_disk_ends_the_run_and_what_stands_is_whole(photos, tmp_path, monkeypatch):
    out, written = tmp_path / "out", []
    write_aside = shards.write_aside

    def fill(path, content):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write_aside(path, content)

    monkeypatch.setattr(shards, "write_aside", fill)
    with pytest.raises(OSError, match="No space left"):
        run(photos, out, shard=7)
    assert len(table(out)) == 21
    monkeypatch.undo()
    assert run(photos, out).before == 21
    assert len(table(out)) == len(set(table(out)["file"])) == 45


def test_a_folder_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is no folder"):
        run(photos, tmp_path / "file")


def test_a_damaged_shard_is_named(photos, tmp_path):
    run(photos, tmp_path / "out")
    (shard,) = shards.shards_of(tmp_path / "out")
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"part-000000.parquet is damaged .* delete it"):
        run(photos, tmp_path / "out")
    shard.unlink()
    assert run(photos, tmp_path / "out").files == 45


def test_a_shard_is_written_after_a_while_too(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SECONDS", 0.05)
    with shards.Shards(tmp_path, shards.pa.schema({"file": shards.pa.binary()})) as growing:
        growing.add([{"file": b"1"}])
        assert not shards.shards_of(tmp_path)
        time.sleep(0.1)
        growing.add([{"file": b"2"}])
        assert len(shards.shards_of(tmp_path)) == 1


def test_a_dead_worker_is_said(photos, monkeypatch):
    batches = prepared_batches(find_items(photos), Options(align_arcface, 16, aligned=True), 1, 2)
    next(batches)
    (server,) = children(os.getpid(), "multiprocessing.forkserver")
    (worker,) = children(server)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(OSError, match=r"A worker process has died .* fewer workers"):
        list(batches)


def processes():
    """Yield number, parent and command of each process, but for dead ones that nobody has waited for."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
            command = Path(f"/proc/{process}/cmdline").read_text()
        except OSError:
            continue
        if state != "Z":
            yield int(process), int(parent), command


def children(parent, command=""):
    """Return the processes that a process has started with a command."""
    return [number for number, above, line in processes() if above == parent and command in line]


def test_a_quiet_run_says_nothing(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("plqlite.scale.runner.PLAIN", 0.0)
    run(photos, tmp_path / "loud")
    assert " files, " in capsys.readouterr().err
    run(photos, tmp_path / "quiet", quiet=True)
    assert not capsys.readouterr().err


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("plqlite.scale.runner.PLAIN", 0.0)
    first, second = ([{"file": name} for name in names] for names in ("aab", "c"))
    assert list(progress([first, second], total=13, done=10)) == [first, second]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("12 of 13 files, ")
    assert second.startswith("13 of 13 files, ")
    assert second.endswith(" a second, 0 min left")


# --- killed and resumed, as a user would ---


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """240 faces that differ a little, as crops for SFace."""
    folder, model = tmp_path_factory.mktemp("crops"), plqlite.sface(device="cpu")
    face = plqlite.load_face(ASTRONAUT, model)[0]
    generator = torch.Generator().manual_seed(0)
    for number in range(240):
        noisy = (face + 4 * torch.randn(face.shape, generator=generator)).clamp(0, 255)
        write(folder / f"{number:03}.png", noisy.permute(1, 2, 0).byte().numpy())
    return folder


def command(crops, out, *options):
    line = [sys.executable, "-m", "plqlite", "score", str(crops), "--out", str(out), "--aligned", *options]
    return subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def undisturbed(crops, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    process = command(crops, out, "--batch", "8", "--workers", "1")
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "240 files scored now (240 faces, 0 errors), 0 before" in printed
    return table(out)


SMALL_SHARDS = """
import sys, plqlite
from plqlite.scale import score
crops, out, workers = sys.argv[1:]
score(crops, out, plqlite.sface(), aligned=True, workers=int(workers), batch=8, shard=8)
"""


@pytest.mark.slow
def test_killed_at_ten_moments_it_resumes_to_the_same_table(crops, undisturbed, tmp_path):
    """A shard for each batch, so that there is something to lose and to keep."""
    out, moments = tmp_path / "out", random.Random(0)
    kept = []
    for _ in range(10):
        line = [sys.executable, "-c", SMALL_SHARDS, str(crops), str(out), str(moments.choice([0, 1]))]
        process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=moments.uniform(5, 14))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kept.append(len(table(out)) if shards.shards_of(out) else 0)
    assert kept == sorted(kept)
    process = command(crops, out, "--batch", "8", "--workers", "0")
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"{kept[-1]} before" in printed
    pd.testing.assert_frame_equal(table(out), undisturbed, rtol=1e-4, atol=1e-5)
    assert not list(out.rglob("*.part"))


FAULTS = """
import resource, torch
from plqlite.scale.memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_default = pages()
keep_freed_memory()
pages()  # the heap grows once or twice until it has room
print(by_default, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    by_default, kept = map(int, done.stdout.split())
    assert kept < by_default / 10


@pytest.mark.slow
def test_workers_end_with_a_run_that_is_killed(crops, tmp_path):
    line = [sys.executable, "-c", SMALL_SHARDS, str(crops), str(tmp_path / "out"), "2"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline, workers = time.monotonic() + 300, []
    while len(workers) < 2 and time.monotonic() < deadline:
        workers = [
            each
            for server in children(process.pid, "multiprocessing.forkserver")
            for each in children(server)
        ]
    assert len(workers) == 2

    def left():
        return {number for number, _, _ in processes()} & set(workers)

    process.kill()
    process.wait()
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left()


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_scored(crops, tmp_path):
    out = tmp_path / "out"
    process = command(crops, out, "--batch", "8", "--workers", "1")
    deadline = time.monotonic() + 600
    while not (out / "settings.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(8)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    if process.returncode:  # a fast machine may be done
        assert process.returncode == 130, errors
        assert "interrupted" in errors
        assert "Traceback" not in errors
    process = command(crops, out, "--workers", "0")
    printed, _ = process.communicate()
    before = int(printed.split(" before")[0].rpartition(" ")[2])
    assert f"{240 - before} files scored now" in printed
    assert len(set(table(out)["file"])) == len(table(out)) == 240


def test_bad_options_are_refused(capsys):
    for wrong in (["x"], ["x", "--out", "y", "--batch", "0"], ["x", "--out", "y", "--workers", "-1"]):
        with pytest.raises(SystemExit) as ended:
            parse(wrong)
        assert ended.value.code == 2


# --- on Ray ---


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_gets_a_part_of_the_files_at_a_time(cluster, photos, tmp_path, monkeypatch):
    """So that its memory does not grow with their number; every file is scored all the same."""
    from plqlite.scale import on_ray

    monkeypatch.setattr(on_ray, "AT_ONCE", 20)
    assert run(photos, tmp_path / "ray", engine="ray", workers=1) == Counts(45, 43, 2, 0)
    run(photos, tmp_path / "plain")
    pd.testing.assert_frame_equal(table(tmp_path / "plain"), table(tmp_path / "ray"), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_rows_of_ray_are_those_of_the_plain_runner(cluster, photos, tmp_path):
    assert run(photos, tmp_path / "plain").files == 45
    relative = os.path.relpath(photos)  # Ray's workers began in another folder
    assert run(relative, tmp_path / "ray", engine="ray", workers=2) == Counts(45, 43, 2, 0)
    pd.testing.assert_frame_equal(table(tmp_path / "plain"), table(tmp_path / "ray"), rtol=1e-5, atol=1e-6)
    assert run(photos, tmp_path / "ray", engine="ray", workers=1) == Counts(0, 0, 0, 45)


@pytest.mark.slow
def test_a_worker_of_ray_that_is_killed_half_way_loses_nothing(
    cluster, crops, undisturbed, tmp_path, monkeypatch
):
    """The actor that holds the model is killed after the first rows have come."""
    from plqlite.scale import on_ray

    killed = []

    def and_kill(batches):
        for batch in batches:
            yield batch
            if not killed:
                killed.extend(kill_scorers())

    real = on_ray.row_batches
    monkeypatch.setattr(on_ray, "row_batches", lambda *arguments: and_kill(real(*arguments)))
    score(crops, tmp_path, plqlite.sface(device="cpu"), aligned=True, batch=8, engine="ray")
    assert killed
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed, rtol=1e-4, atol=1e-5)


def kill_scorers():
    """Kill the processes of Ray's actors that score; return their numbers."""
    found = [number for number, _, line in processes() if line.startswith("ray::") and "RayScorer" in line]
    for number in found:
        os.kill(number, signal.SIGKILL)
    return found
