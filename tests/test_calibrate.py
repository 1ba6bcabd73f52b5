"""data_scripts/calibrate.py, end to end on a folder that the test makes."""

import csv
import json
import os
import shutil
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from networks import export, iresnet
from PIL import Image

import plqlite
from conftest import built
from plqlite import development
from plqlite.calibration import from_json
from plqlite.experiments import versions
from plqlite.experiments.dataset import find_photos
from plqlite.networks.weights import SFACE, find_weights
from plqlite.reference import fit_reference_statistics


@pytest.fixture
def calibrate(run_script, people, tmp_path):
    def run():
        out = tmp_path / "calibration.json"
        run_script("calibrate", people, "--out", out)
        return json.loads(out.read_text("utf-8")), out.with_suffix(".csv")

    run.table = tmp_path / "calibration.csv"
    return run


@pytest.mark.slow
def test_fits_both_models_and_names_what_it_skipped(calibrate, capsys):
    result, table = calibrate()
    rows = pd.read_csv(table, keep_default_na=False)
    rows = rows[rows["skipped"] == ""].astype({"quality": float})
    assert Image.open(table.with_suffix(".png")).size > (500, 400)  # Fig. 11, four panels
    for name, constants in result.items():
        scaling, reference = from_json(constants)
        levels = [each.maps["level"].mean.flatten() for each in (reference, built(name).reference_statistics)]
        assert np.corrcoef(*levels)[0, 1] > 0.9  # with those of other photos
        assert reference.maps["noise"].mean.shape == built(name).reference_statistics.maps["noise"].mean.shape
        quality = rows[rows["model"] == name]["quality"]
        alpha, r = plqlite.fit_scaling(torch.tensor(quality.to_numpy()))  # of all versions
        assert (scaling.alpha, scaling.r) == pytest.approx((alpha, r), rel=1e-3)
        clean = quality[rows["version"] == ""]
        np.testing.assert_allclose(
            reference.quality_percentiles[[0, 50, 100]], clean.quantile([0, 0.5, 1]), atol=1e-4
        )
        assert "9 photos of people and 18 degraded versions" in scaling.provenance
        assert abs(scaling.gamma - built(name).scaling.gamma) < 1.5
    skipped = {
        row["image"]: row["skipped"] for row in csv.DictReader(table.open(encoding="utf-8")) if row["skipped"]
    }
    assert "cannot be read" in skipped["letter.jpg"]
    assert "No face" in skipped["nobody.png"]
    assert "\n4 of 58 measurements skipped" in capsys.readouterr().out


@pytest.mark.slow
def test_resumes_where_it_was_interrupted(calibrate, people, interrupt):
    calls = interrupt(versions, "measure", at=5)
    with pytest.raises(SystemExit, match="130"):
        calibrate()
    table = calibrate.table
    table.write_text(table.read_text("utf-8") + "sface,astronaut/astronaut_0001.png,,0.8", "utf-8")  # cut off
    result, table = calibrate()
    lines = table.read_text("utf-8").splitlines()
    assert len(calls) == 5 + 18 - 4  # nothing twice, nothing lost
    assert len(lines) == len(set(lines)) == 1 + 3 * 18 + 4
    assert calibrate()[0] == result
    next(people.rglob("grace_hopper_0001.png")).unlink()
    assert "8 photos" in calibrate()[0]["sface"]["provenance"]  # what is no longer there does not count
    assert table.read_text("utf-8").splitlines() == lines  # but no measurement is thrown away
    assert len(calls) == 5 + 18 - 4
    before = calibrate()[0]
    table.with_suffix(".maps.csv").unlink()
    assert calibrate()[0] == before
    assert len(calls) == 5 + 18 - 4 + 16
    table.unlink()  # so the maps are measured twice
    assert calibrate()[0] == before


@pytest.mark.slow
def test_a_list_says_what_is_used_for_what(tmp_path, few_people, run_script, capsys):
    photos = sorted(path.relative_to(few_people).as_posix() for path in few_people.rglob("*_0001.png"))
    everything = {path.relative_to(few_people).as_posix() for path in find_photos(few_people)}
    others = [{"image": each} for each in everything - set(photos)]
    rows = [
        {"image": photos[0]},
        {"image": photos[1], "reference": "no"},
        {"image": photos[2], "covered": "hat"},
    ]
    listing, out = tmp_path / "list.csv", tmp_path / "c.json"
    columns = ["image", "subject", "covered", "reference"]

    def write(rows):
        filled = pd.DataFrame([{"subject": "x", "covered": "", "reference": "yes"} | row for row in rows])
        filled[columns].to_csv(listing, index=False)

    def run():
        run_script("calibrate", few_people, "--model", "sface", "--faces", listing, "--out", out)

    write(rows[:2])
    with pytest.raises(SystemExit):
        run()
    assert "does not list" in capsys.readouterr().err
    write(rows + others)
    with pytest.raises(SystemExit):  # one face to learn from
        run()
    assert "1 faces: reference statistics take at least 2" in capsys.readouterr().err
    rows[1].pop("reference")
    write(rows + others)
    run()
    assert "2 photos of" in json.loads(out.read_text("utf-8"))["sface"]["provenance"]
    listing.write_text("image,subject\n", "utf-8")
    with pytest.raises(SystemExit):
        run()
    assert "has no column 'covered'" in capsys.readouterr().err


def test_an_untrained_network_cannot_be_calibrated(tmp_path, people, run_script, capsys):
    path = export(iresnet((1, 1), (4, 8), 112, 16), tmp_path / "untrained.onnx", size=112)
    with pytest.raises(SystemExit) as end:
        run_script("calibrate", people, "--model", path, "--out", tmp_path / "calibration.json")
    assert end.value.code == 1
    assert "untrained: Cannot fit gamma: the faces' centre is no more salient" in capsys.readouterr().err


@pytest.mark.slow
def test_two_files_of_one_name_are_two_models(tmp_path, few_people, run_script):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sface = find_weights(SFACE).read_bytes()
    (tmp_path / "a" / "model.onnx").write_bytes(sface)
    proto = onnx.load_from_string(sface)
    proto.producer_name = "somebody else"
    onnx.save(proto, tmp_path / "b" / "model.onnx")
    for each in ("a", "b"):
        path = tmp_path / each / "model.onnx"
        run_script("calibrate", few_people, "--model", path, "--out", tmp_path / "c.json")
    models = {row["model"] for row in csv.DictReader((tmp_path / "c.csv").open(encoding="utf-8"))}
    assert len(models) == 2
    assert all(name.startswith("model ") for name in models)


@pytest.mark.slow
def test_reference_statistics_are_those_of_the_photos_and_are_found_beside_the_weights(
    tmp_path, few_people, run_script
):
    path = tmp_path / "net.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    run_script("calibrate", few_people, "--model", path, "--out", tmp_path / "c.json")
    model = plqlite.from_onnx(path, device="cpu")
    photos = sorted(few_people.rglob("*_0001.png"))
    images = torch.cat([plqlite.load_face(photo, model) for photo in photos])
    assert len(images) == 3
    expected = fit_reference_statistics(development.measure(model, images))
    for name, pair in expected.maps.items():
        for one, other in zip(model.reference_statistics.maps[name], pair, strict=True):
            torch.testing.assert_close(one, other, atol=0.002, rtol=0.002, msg=name)
    assert model.scaling.alpha > 0


@pytest.mark.slow
def test_a_photo_that_has_changed_is_measured_again(calibrate, few_people, run_script, interrupt):
    calls = interrupt(versions, "measure", at=0)
    out = calibrate.table.with_suffix(".json")

    def run():
        run_script("calibrate", few_people, "--model", "sface", "--out", out)
        return json.loads(out.read_text("utf-8"))["sface"]

    before = run()
    assert len(calls) == 3
    ada = few_people / "astronaut" / "astronaut_0001.png"
    Image.fromarray(plqlite.sample_faces()["astronaut"][:, ::-1] // 2).save(ada)
    assert run()["r"] != before["r"]
    assert len(calls) == 4
    Image.fromarray(plqlite.sample_faces()["astronaut"]).save(ada)
    assert run() == before
    assert len(calls) == 4  # the old measurement was kept


@pytest.mark.slow
def test_odd_names_and_copies(few_people, run_script, tmp_path, interrupt):
    """A name of two lines and one that is no UTF-8 are measured once and used; a copy counts once."""
    photos = sorted(few_people.rglob("*_0001.png"))
    names = [b"two\nlines.png", b"no\xff.png"] if sys.platform == "linux" else [b"a.png", b"b.png"]
    for photo, name in zip(photos[:2], names, strict=True):
        os.rename(photo, os.path.join(os.fsencode(few_people), name))
    shutil.copy(photos[2], few_people / "copy.png")
    calls, out = interrupt(versions, "measure", at=0), tmp_path / "c.json"
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 6 photos are copies of others"):
            run_script("calibrate", few_people, "--model", "sface", "--out", out)
    assert len(calls) == 3
    assert "on 3 photos" in json.loads(out.read_text("utf-8"))["sface"]["provenance"]


@pytest.mark.parametrize("name", ["c.png", "c.csv", "c.maps.csv"])
def test_nothing_is_written_over_the_result(run_script, people, tmp_path, capsys, name):
    with pytest.raises(SystemExit):
        run_script("calibrate", people, "--out", tmp_path / name)
    assert "have one name: choose another --out" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["people"]
