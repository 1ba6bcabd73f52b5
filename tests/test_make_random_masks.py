"""data_scripts/make_random_masks.py, on folders that the tests make."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plqlite
from conftest import ROOT, contents, times
from plqlite.experiments.build import SKIPPED
from plqlite.experiments.masks import COLOURS, cover
from plqlite.experiments.tables import open_table

KILLED_WHILE_WRITING = """
import io, os, runpy, signal, sys
from PIL import Image

number, *sys.argv = sys.argv[1:]
save, calls = Image.Image.save, []

def write_half(image, file, **options):
    calls.append(file)
    if len(calls) == int(number):
        whole = io.BytesIO()
        save(image, whole, **options)
        file.write(whole.getvalue()[:len(whole.getvalue()) // 2])
        file.flush()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    save(image, file, **options)

Image.Image.save = write_half
runpy.run_path(sys.argv[0], run_name="__main__")
"""


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


@pytest.mark.slow
def test_killed_half_way_and_run_again_gives_the_same_files(run_script, prepared, tmp_path):
    """A real process, really killed, while it writes a file."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    run_script("make_random_masks", prepared, "--out", whole)
    expected = contents(whole)
    assert len([name for name in expected if name.endswith(".png")]) == 5 * 9

    script = ROOT / "data_scripts" / "make_random_masks.py"
    program = [sys.executable, "-c", KILLED_WHILE_WRITING, "23", script]
    killed = subprocess.run([*program, prepared, "--out", out], stderr=subprocess.DEVNULL)
    assert killed.returncode != 0
    assert len(list(out.rglob("*.png"))) == 22
    assert len(list(out.rglob(".*.part"))) == 1  # half of the next
    run_script("make_random_masks", prepared, "--out", out)
    assert contents(out) == expected
    before = times(out)
    run_script("make_random_masks", prepared, "--out", out)
    assert times(out) == before


def test_a_folder_of_photos_is_aligned_first(run_script, people, tmp_path):
    run_script("make_random_masks", people, "--out", tmp_path / "masks")
    assert len(pd.read_csv(tmp_path / "masks" / "index.csv")) == 45
    assert len(open_table(tmp_path / "masks" / "aligned" / "skipped.csv", SKIPPED)) == 2
