"""data_scripts/calibrate.py, end to end on a folder that the test makes."""

import csv
import json

import numpy as np
import onnx
import pytest
import torch
from networks import export, iresnet
from PIL import Image

import plqlite
from plqlite import calibration
from plqlite.models import Usual, read_calibration
from plqlite.weights import SFACE, find_weights


@pytest.fixture
def calibrate(run_script, people, tmp_path):
    def run():
        out = tmp_path / "calibration.json"
        run_script("calibrate", people, "--out", out)
        return json.loads(out.read_text("utf-8")), out.with_suffix(".csv")

    run.table = tmp_path / "calibration.csv"
    return run


def test_fits_both_models_and_names_what_it_skipped(calibrate, capsys):
    result, table = calibrate()
    assert Image.open(table.with_suffix(".png")).size > (500, 400)  # Fig. 11, four panels
    for name, constants in result.items():
        scaling, usual = read_calibration(constants)
        assert usual.mean.shape == usual.spread.shape == (28, 28)
        bundled = getattr(plqlite, name)(device="cpu").usual
        assert np.corrcoef(usual.mean.flatten(), bundled.mean.flatten())[0, 1] > 0.9  # of nine other photos
        assert scaling.alpha > 0
        assert 0.7 < scaling.r < 0.95
        assert "9 photos of people" in scaling.provenance
        assert abs(scaling.gamma - getattr(plqlite, name)(device="cpu").scaling.gamma) < 1.5
    skipped = {
        row["image"]: row["skipped"] for row in csv.DictReader(table.open(encoding="utf-8")) if row["skipped"]
    }
    assert "cannot be read" in skipped["letter.jpg"]
    assert "No face" in skipped["nobody.png"]
    assert "4 of 22 measurements skipped" in capsys.readouterr().out


def test_goes_on_where_it_was_interrupted(calibrate, people, interrupt):
    calls = interrupt(calibration, "measure", at=5)
    with pytest.raises(KeyboardInterrupt):
        calibrate()
    table = calibrate.table
    table.write_text(table.read_text("utf-8") + "sface,astronaut/astronaut_0001.png,0.8", "utf-8")  # cut off
    result, table = calibrate()
    lines = table.read_text("utf-8").splitlines()
    assert len(calls) == 5 + 18 - 4  # nothing twice, nothing lost
    assert len(lines) == len(set(lines)) == 1 + 22
    assert calibrate()[0] == result
    next(people.rglob("grace_hopper_0001.png")).unlink()
    assert "8 photos" in calibrate()[0]["sface"]["provenance"]  # what is no longer there does not count
    assert table.read_text("utf-8").splitlines() == lines  # but no measurement is thrown away
    assert len(calls) == 5 + 18 - 4
    before = calibrate()[0]
    table.with_suffix(".levels.csv").unlink()  # as an earlier version left it
    assert calibrate()[0] == before
    assert len(calls) == 5 + 18 - 4 + 16


def test_an_untrained_network_cannot_be_calibrated(tmp_path, people, run_script, capsys):
    path = export(iresnet((1, 1), (4, 8), 112, 16), tmp_path / "untrained.onnx", size=112)
    with pytest.raises(SystemExit) as end:
        run_script("calibrate", people, "--model", path, "--out", tmp_path / "calibration.json")
    assert end.value.code == 1
    assert "untrained: Cannot fit gamma: the faces' centre is no more salient" in capsys.readouterr().err


def test_two_files_of_one_name_are_two_models(tmp_path, people, run_script):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sface = find_weights(SFACE).read_bytes()
    (tmp_path / "a" / "model.onnx").write_bytes(sface)
    proto = onnx.load_from_string(sface)
    proto.producer_name = "somebody else"
    onnx.save(proto, tmp_path / "b" / "model.onnx")
    for each in ("a", "b"):
        run_script(
            "calibrate", people, "--model", tmp_path / each / "model.onnx", "--out", tmp_path / "c.json"
        )
    models = {row["model"] for row in csv.DictReader((tmp_path / "c.csv").open(encoding="utf-8"))}
    assert len(models) == 2
    assert all(name.startswith("model ") for name in models)


def test_what_is_usual_is_that_of_the_photos_and_is_found_beside_the_weights(tmp_path, people, run_script):
    path = tmp_path / "net.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    run_script("calibrate", people, "--model", path, "--out", tmp_path / "c.json")
    model = plqlite.from_onnx(path, device="cpu")
    images = torch.cat([plqlite.load_face(photo, model) for photo in plqlite.sample_faces().values()])
    expected = calibration.usual_faces(calibration.measure(model, images))
    for name, atol in zip(Usual._fields, (0.02, 0.02, 0.001, 0.001, 1e-5), strict=True):
        torch.testing.assert_close(
            getattr(model.usual, name), getattr(expected, name), atol=atol, rtol=0, msg=name
        )
    assert model.scaling.alpha > 0


GRID = [[1] * 28] * 28
WHOLE = {"mean": GRID, "spread": GRID, "region_mean": [1] * 8, "region_spread": [1] * 8, "quality": [1] * 101}


@pytest.mark.parametrize(
    "usual",
    [
        {"mean": GRID, "spread": GRID},
        WHOLE | {"mean": [[1]]},
        WHOLE | {"spread": [[0] * 28] * 28},
        WHOLE | {"region_spread": [0] * 8},
        WHOLE | {"quality": [1] * 100},
        "letter",
    ],
)
def test_what_is_usual_is_checked(tmp_path, usual):
    path = tmp_path / "net.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    model = plqlite.from_onnx(path, device="cpu")
    calibration.save_scaling(model, plqlite.Scaling(1.0, 0.5, 10.0))
    saved = json.loads(path.with_suffix(".scaling.json").read_text("utf-8"))
    saved["scaling"]["usual"] = usual
    path.with_suffix(".scaling.json").write_text(json.dumps(saved), "utf-8")
    with pytest.raises(ValueError, match=r"net\.scaling\.json is damaged"):
        plqlite.from_onnx(path, device="cpu")
