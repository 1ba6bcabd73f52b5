"""calibration.py and development.py: constants are measured, fitted, written and read for one model alone."""

import json
import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch
from networks import export, small

import plqlite
from conftest import random_images
from plqlite import calibration
from plqlite.calibration import Measurements, ReferenceStatistics, fit_reference_statistics, load_calibration
from plqlite.development import measure
from plqlite.faces import REGIONS, crop_box


def test_reference_statistics_are_mean_deviation_and_percentiles():
    levels = torch.stack([torch.full((28, 28), value) for value in (1.0, 3.0)])
    quality, regions = torch.tensor([0.2, 0.6]), torch.tensor([[1.0] * 8, [5.0] * 8])
    measurements = Measurements(quality, quality, quality, levels, regions)
    found = fit_reference_statistics(measurements)
    assert (found.level_mean == 2).all()
    torch.testing.assert_close(found.level_std, torch.full((28, 28), 2**0.5))
    assert (found.region_mean == 3).all()
    torch.testing.assert_close(found.region_std, torch.full((8,), 8**0.5))
    torch.testing.assert_close(found.quality_percentiles[[0, 25, 100]], torch.tensor([0.2, 0.3, 0.6]))
    with pytest.raises(ValueError, match="1 faces: reference statistics take at least 2"):
        fit_reference_statistics(Measurements(*(each[:1] for each in measurements)))


def test_constants_are_those_of_the_measurements(model):
    """calibration.json follows from calibration.csv."""
    rows = pd.read_csv(files("plqlite").joinpath("calibration.csv"))
    rows = rows[rows["model"] == model.name]
    assert len(rows) == 100
    quality, centre, background = torch.tensor(rows[["quality", "centre", "background"]].to_numpy().T)
    fitted = calibration.fit(quality, centre, background)
    assert (model.scaling.alpha, model.scaling.r) == pytest.approx((fitted.alpha, fitted.r), rel=1e-3)
    assert model.scaling.gamma == pytest.approx(fitted.gamma, abs=0.011)
    reference, regions = model.reference_statistics, rows[list(REGIONS)]
    np.testing.assert_allclose(reference.region_mean, regions.mean(), atol=1e-3)
    np.testing.assert_allclose(reference.region_std, regions.std(), atol=1e-3)
    percentiles = np.percentile(rows["quality"], range(101))
    np.testing.assert_allclose(reference.quality_percentiles, percentiles, atol=1e-5)


@pytest.mark.slow
def test_calibration_finds_the_constants_that_are_given(model, faces):
    before = model.scaling, model.reference_statistics
    scaling = plqlite.calibrate(model, faces)
    assert model.scaling is before[0]
    assert model.reference_statistics is before[1]  # left as they were
    alpha, r = plqlite.fit_scaling(plqlite.ser_fiq_closed_form(model, faces))
    assert (scaling.alpha, scaling.r) == pytest.approx((alpha, r), rel=1e-3)
    assert abs(scaling.gamma - model.scaling.gamma) < 0.5
    assert model.file is None  # nothing is written into an installed package


def test_calibration_needs_different_faces(tiny, images):
    for few in (images[:1], images[:1].repeat(3, 1, 1, 1)):
        with pytest.raises(ValueError, match="fit on several different faces"):
            plqlite.calibrate(tiny, few)


# --- the calibration of one model is never used for another ---


def test_calibration_is_kept_beside_the_model_and_for_it_alone(small_copy):
    path, images = small_copy, random_images(6)
    model = plqlite.from_onnx(path)
    assert model.scaling is None
    scaling = plqlite.calibrate(model, images)
    assert model.scaling is None  # it is for the caller to use it
    assert scaling.provenance == "calibrate on 6 images; closed form, signed"
    assert plqlite.from_onnx(path).scaling == scaling
    for changed in ({"std": 128}, {"channels": "BGR"}, {"align": crop_box}):
        with pytest.warns(UserWarning, match=r"r\.scaling\.json was fitted for another model or input"):
            assert plqlite.from_onnx(path, **changed).scaling is None
    export(small(seed=1), path)
    with pytest.warns(UserWarning, match="another model or input: ignored"):
        assert plqlite.from_onnx(path).scaling is None
    path.with_suffix(".scaling.json").write_text('{"scaling": ', "utf-8")
    with pytest.raises(ValueError, match=r"r\.scaling\.json is damaged .* calibrate again"):
        plqlite.from_onnx(path)


def saved_for(path):
    """Calibrate the model of a file; return what was saved, to be changed."""
    plqlite.calibrate(plqlite.from_onnx(path), random_images(6))
    return json.loads(path.with_suffix(".scaling.json").read_text("utf-8"))


CHANGES = {"size": 17, "mean": [127.5, 127.5, 127.0], "std": 128.0, "channels": "BGR", "align": "crop_box"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_calibration_for_an_input_that_differs_in_one_field_is_ignored(small_copy, field):
    saved = saved_for(small_copy)
    assert saved["model"]["input"].keys() == CHANGES.keys()
    saved["model"]["input"][field] = CHANGES[field]
    small_copy.with_suffix(".scaling.json").write_text(json.dumps(saved), "utf-8")
    with pytest.warns(UserWarning, match=r"r\.scaling\.json was fitted for another model or input: ignored"):
        model = plqlite.from_onnx(small_copy)
    assert model.scaling is model.reference_statistics is None


def test_a_calibration_does_not_depend_on_the_words_of_the_card(small_copy, monkeypatch):
    scaling = plqlite.calibrate(plqlite.from_onnx(small_copy), random_images(6))
    monkeypatch.setattr(plqlite.Input, "__str__", lambda self: "in other words")
    model = plqlite.from_onnx(small_copy)
    assert model.card["input"] == "in other words"
    assert model.scaling == scaling


@pytest.mark.parametrize("entry", ["sha256", "split"])
def test_a_calibration_for_other_weights_or_another_split_is_ignored(small_copy, entry):
    saved = saved_for(small_copy)
    saved["model"][entry] += "0"
    small_copy.with_suffix(".scaling.json").write_text(json.dumps(saved), "utf-8")
    with pytest.warns(UserWarning, match="another model or input: ignored"):
        assert plqlite.from_onnx(small_copy).scaling is None


@pytest.mark.parametrize("value", ["NaN", "1e400", '"8"', "null"])
def test_damaged_constants_are_refused(small_copy, value):
    plqlite.calibrate(plqlite.from_onnx(small_copy), random_images(6))
    saved = small_copy.with_suffix(".scaling.json")
    saved.write_text(re.sub(r'("gamma": )[-\d.]+', rf"\g<1>{value}", saved.read_text("utf-8")), "utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        plqlite.from_onnx(small_copy)


def test_nothing_is_kept_for_a_crop_without_a_name(small_copy, tmp_path):
    """One lambda could not be told from the next."""
    plqlite.calibrate(plqlite.from_onnx(small_copy, align=lambda photo, face, size: photo), random_images(6))
    assert [each.name for each in tmp_path.iterdir()] == ["r.onnx"]


GRID = [[1] * 28] * 28
WHOLE = {
    "level_mean": GRID,
    "level_std": GRID,
    "region_mean": [1] * 8,
    "region_std": [1] * 8,
    "quality_percentiles": [1] * 101,
}


@pytest.mark.parametrize(
    "statistics",
    [
        {"level_mean": GRID, "level_std": GRID},
        WHOLE | {"level_mean": [[1]]},
        WHOLE | {"level_std": [[0] * 28] * 28},
        WHOLE | {"region_std": [0] * 8},
        WHOLE | {"quality_percentiles": [1] * 100},
        "letter",
    ],
)
def test_reference_statistics_are_checked(small_copy, statistics):
    model, path = plqlite.from_onnx(small_copy, device="cpu"), small_copy.with_suffix(".scaling.json")
    calibration.save_calibration(path, plqlite.Scaling(1.0, 0.5, 10.0), None, model.identity)
    saved = json.loads(path.read_text("utf-8"))
    saved["scaling"]["reference_statistics"] = WHOLE
    path.write_text(json.dumps(saved), "utf-8")
    assert plqlite.from_onnx(small_copy, device="cpu").reference_statistics.region_std.tolist() == [1] * 8
    saved["scaling"]["reference_statistics"] = statistics
    path.write_text(json.dumps(saved), "utf-8")
    with pytest.raises(ValueError, match=r"r\.scaling\.json is damaged"):
        plqlite.from_onnx(small_copy, device="cpu")


def test_what_is_saved_is_what_is_read(small_copy):
    model = plqlite.from_onnx(small_copy, device="cpu")
    scaling = plqlite.calibrate(model, random_images(6))
    expected = fit_reference_statistics(measure(model, random_images(6)))
    found, statistics, fitted_for = load_calibration(model.calibration_file)
    assert found == scaling
    assert fitted_for == model.identity
    for name, atol in zip(ReferenceStatistics._fields, (0.02, 0.02, 0.001, 0.001, 1e-5), strict=True):
        one, other = getattr(statistics, name), getattr(expected, name)
        torch.testing.assert_close(one, other, atol=atol, rtol=0, msg=name)


OLD_INPUTS = {  # what version 0.1 wrote, and how the file is read to get it
    "16×16 RGB (x − 127.5)/127.5, align_arcface": {},
    "16×16 BGR (x − (100.0, 110.0, 120.0))/(50.0, 60.0, 70.0), crop_box": {
        "mean": [100.0, 110.0, 120.0],
        "std": [50.0, 60.0, 70.0],
        "channels": "BGR",
        "align": crop_box,
    },
}


@pytest.mark.parametrize("text", OLD_INPUTS)
def test_a_calibration_that_version_0_1_has_saved_is_read(small_copy, text):
    model = plqlite.from_onnx(small_copy, device="cpu", **OLD_INPUTS[text])
    usual = {
        "mean": [[-0.5] * 28] * 28,
        "spread": [[0.25] * 28] * 28,
        "region_mean": [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0],
        "region_spread": [0.125] * 8,
        "quality": [number / 128 for number in range(101)],
    }
    old = {
        "scaling": {
            "alpha": 279.3,
            "r": 0.8987,
            "gamma": 10.8,
            "provenance": "calibrate on 9",
            "usual": usual,
        },
        "model": {"sha256": model.card["sha256"], "input": text, "split": model.card["split"]},
    }
    path = small_copy.with_suffix(".scaling.json")
    path.write_text(json.dumps(old) + "\n", "utf-8")
    read = plqlite.from_onnx(small_copy, device="cpu", **OLD_INPUTS[text])
    assert read.scaling == plqlite.Scaling(279.3, 0.8987, 10.8, "calibrate on 9")
    for new, value in zip(ReferenceStatistics._fields, usual.values(), strict=True):
        assert getattr(read.reference_statistics, new).tolist() == value
    with pytest.warns(UserWarning, match="another model or input: ignored"):
        assert plqlite.from_onnx(small_copy, device="cpu", std=99.0).scaling is None
    del old["scaling"]["usual"]  # as the first of them were
    path.write_text(json.dumps(old), "utf-8")
    read = plqlite.from_onnx(small_copy, device="cpu", **OLD_INPUTS[text])
    assert read.scaling.alpha == 279.3
    assert read.reference_statistics is None
    old["model"]["input"] = text.replace("16×16", "17×17")
    path.write_text(json.dumps(old), "utf-8")
    with pytest.warns(UserWarning, match="another model or input: ignored"):
        assert plqlite.from_onnx(small_copy, device="cpu", **OLD_INPUTS[text]).scaling is None
