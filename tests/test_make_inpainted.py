"""data_scripts/make_inpainted.py, on folders that the tests make."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plqlite
from conftest import contents, times


@pytest.fixture
def two_subjects(people, tmp_path):
    for name in ("astronaut", "group_3"):
        shutil.copytree(people / name, tmp_path / "two" / name)
    return tmp_path / "two"


@pytest.mark.slow
def test_the_inpainted_set_of_occluded_photos(run_script, two_subjects, sface, tmp_path, capsys):
    out, options = tmp_path / "out", ("--occlude", "hair", "square", "--seed", 2)
    run_script("make_inpainted", two_subjects, "--out", out, *options)
    printed = capsys.readouterr().out
    assert "4 images, an unusually low region in" in printed
    index = pd.read_csv(out / "index.csv")
    assert index["kind"].tolist() == ["hair", "square"] * 2
    assert index["identity"].tolist() == ["astronaut"] * 2 + ["group_3"] * 2
    for row in index.to_dict("records"):
        original, mask, inpainted, true_mask = (
            np.array(Image.open(out / variant / row["image"]))
            for variant in ("original", "mask", "inpainted", "true_mask")
        )
        assert (original == inpainted)[mask == 0].all()
        assert (mask > 0).mean() == pytest.approx(row["area"], abs=1e-6)
        assert (row["area"] > 0) == (row["score"] > 0)
        found, true = mask[..., 0] > 0, true_mask[..., 0] > 0
        assert row["iou"] == pytest.approx((found & true).sum() / (found | true).sum(), abs=1e-6)
        face = plqlite.load_face(out / "inpainted" / row["image"], sface, aligned=True)
        assert plqlite.ser_fiq_closed_form(sface, face).item() == pytest.approx(row["low"], abs=2e-4)
    squares = index[index["kind"] == "square"]["image"]
    one, other = (np.array(Image.open(out / "true_mask" / image)) > 0 for image in squares)
    assert (one & other).sum() < 0.5 * (one | other).sum()  # each its own draw
    before, whole = times(out), contents(out)
    run_script("make_inpainted", two_subjects, "--out", out, *options)
    assert times(out) == before
    lines = (out / "index.csv").read_text("utf-8").splitlines(keepends=True)
    (out / "index.csv").write_text("".join(lines[:2]) + lines[2][:9], "utf-8")  # killed
    (out / "mask" / "hair" / "group_3" / "group_3_0001.png").unlink()
    run_script("make_inpainted", two_subjects, "--out", out, *options)
    assert contents(out) == whole
    with pytest.raises(SystemExit):
        run_script("make_inpainted", two_subjects, "--out", out, *options, "--inpainter", "telea")
    assert "was made with another inpainter than telea" in capsys.readouterr().err


@pytest.mark.slow
def test_the_inpainted_set_of_prepared_faces_photos_and_the_sample(
    run_script, prepared, two_subjects, tmp_path, capsys
):
    run_script("make_inpainted", prepared, "--out", tmp_path / "a", "--model", "facenet")
    assert "9 images" in capsys.readouterr().out
    run_script("make_inpainted", two_subjects, "--out", tmp_path / "b", "--inpainter", "mirror")
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
    run_script, two_subjects, tmp_path, capsys, arguments, message
):
    with pytest.raises(SystemExit) as end:
        run_script("make_inpainted", two_subjects, "--out", tmp_path / "out", *arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_average_of_the_sample_faces_is_not_for_them(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_script("make_inpainted", "sample", "--out", tmp_path, "--inpainter", "average")
    assert "choose another for them" in capsys.readouterr().err
