"""data_scripts/make_icao.py."""

import contextlib
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plqlite
from conftest import run_as_main
from plqlite.experiments import build
from plqlite.experiments.icao import simulate_all
from plqlite.experiments.noncompliance import NON_COMPLIANCES, simulate
from plqlite.faces import find_faces


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The astronaut's set, and what was printed."""
    out = tmp_path_factory.mktemp("made") / "icao"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run_as_main("make_icao", "--out", out)
    return out, printed.getvalue()


@pytest.mark.slow
def test_the_set_holds_33_images_masks_an_index_and_a_contact_sheet(made):
    out, printed = made
    assert "33 images and reference.png" in printed
    photo = plqlite.sample_faces()["astronaut"]
    _, simulated = simulate_all(photo)
    index = pd.read_csv(out / "index.csv", keep_default_na=False)
    assert index["image"].tolist() == [f"{name}.png" for name in simulated]
    assert index["kind"].nunique() == 13
    for row, (name, each) in zip(index.itertuples(), simulated.items(), strict=True):
        assert (np.array(Image.open(out / row.image)) == each.photo).all()
        assert (out / "mask" / row.image).exists() == (each.mask is not None)
        if each.mask is not None:
            white = np.array(Image.open(out / "mask" / row.image))
            assert ((white[..., 0] == 255) == each.mask).all()
            assert row.touched == pytest.approx(each.mask.mean(), abs=1e-4)
        done = NON_COMPLIANCES.get(name)
        assert (row.kind, row.variant) == ((done.kind, done.variant) if done else ("reference", ""))
    assert index["touched"][0] == 0
    assert Image.open(out / "contact_sheet.png").size > (1000, 800)


@pytest.mark.slow
def test_strength_seed_and_photo_reach_the_set(run_script, tmp_path, keep_only):
    names = ("colour-cast", "face-mask-blue", "pose-roll")
    keep_only(names)
    photo = plqlite.sample_faces()["grace_hopper"]
    Image.fromarray(photo).save(tmp_path / "hopper.png")
    run_script("make_icao", tmp_path / "hopper.png", "--out", tmp_path / "a", "--strength", 0.5, "--seed", 3)
    landmarks = find_faces(photo)[0].landmarks
    index = pd.read_csv(tmp_path / "a" / "index.csv")
    assert set(index["strength"]) == {0.5}
    assert set(index["seed"]) == {3}
    for name in names:
        expected = simulate(photo, landmarks, name, 0.5, 3).photo
        assert (np.array(Image.open(tmp_path / "a" / f"{name}.png")) == expected).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wall.png"], "No face found in an image of 200×200 pixels: use a photo with a visible face"),
        (["letter.jpg"], "cannot be read"),
        (["nothing.png"], "nothing.png"),
        (["--strength", "2"], "argument --strength: choose 0 to 1, found 2.0"),
        (["--seed", "-1"], "argument --seed: a seed is 0 or more, found -1"),
    ],
)
def test_what_make_icao_cannot_use_is_named(run_script, tmp_path, capsys, arguments, message):
    Image.new("RGB", (200, 200)).save("wall.png")
    (tmp_path / "letter.jpg").write_text("I am a letter")
    with pytest.raises(SystemExit) as end:
        run_script("make_icao", *arguments, "--out", tmp_path / "icao")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "icao").exists()


def test_photos_of_the_reader_are_not_overwritten(run_script, tmp_path, capsys):
    """check_own_photos.py asks for files of the same names."""
    Image.fromarray(plqlite.sample_faces()["astronaut"]).save(tmp_path / "reference.png")
    (tmp_path / "pose-roll.png").write_bytes(b"a photo of mine")
    with pytest.raises(SystemExit):
        run_script("make_icao", tmp_path / "reference.png", "--out", tmp_path)
    assert "holds photos of these names from elsewhere" in capsys.readouterr().err
    assert (tmp_path / "pose-roll.png").read_bytes() == b"a photo of mine"


@pytest.mark.slow
def test_an_interrupted_set_has_no_index(run_script, made, tmp_path, interrupt):
    out = shutil.copytree(made[0], tmp_path / "icao")
    interrupt(build, "write_png", at=15)
    with pytest.raises(SystemExit, match="130"):
        run_script("make_icao", "--out", out, "--seed", "5")
    assert not (out / "index.csv").exists()
    run_script("make_icao", "--out", out, "--seed", "5")  # these photos are its own
    assert len(pd.read_csv(out / "index.csv")) == 34


@pytest.mark.slow
def test_a_large_photo_is_made_smaller(run_script, tmp_path, keep_only):
    keep_only(["blur-defocus"])
    photo = Image.fromarray(plqlite.sample_faces()["astronaut"]).resize((2600, 2600))
    photo.save(tmp_path / "large.png", compress_level=1)
    run_script("make_icao", tmp_path / "large.png", "--out", tmp_path / "icao")
    assert Image.open(tmp_path / "icao" / "blur-defocus.png").size == (2048, 2048)
