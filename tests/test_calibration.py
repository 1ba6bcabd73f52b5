"""calibration.py and development.py: constants are measured, fitted, written and read for one model alone."""

import json
import re
import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import torch
from networks import export, small

import plqlite
from conftest import ROOT, random_images
from plqlite import calibration
from plqlite.calibration import Measurements, load_calibration
from plqlite.development import fit_alarms, measure, rows_of
from plqlite.faces import crop_box
from plqlite.reference import deviation, fit_reference_statistics
from plqlite.regions import region_z_scores


def development_rows(model):
    """What calibration.json was fitted on: the numbers, and what is known of the photos."""
    rows = pd.read_csv(files("plqlite").joinpath("calibration.csv"), keep_default_na=False)
    faces = pd.read_csv(ROOT / "docs" / "development_set.csv", keep_default_na=False)
    rows = rows[rows["model"] == model.name].merge(faces, on="image")
    assert len(rows) == 3 * 272  # as they are, and in two worse versions
    assert rows["image"].nunique() == len(faces) == 272
    return rows.astype({name: float for name in ("quality", "centre", "background")})


def test_constants_are_those_of_the_measurements(model):
    """calibration.json follows from calibration.csv and the list of the development set."""
    rows = development_rows(model)
    rows = rows[rows["covered"] == ""]
    clean, worse = rows[rows["version"] == ""], rows[rows["version"] != ""]
    assert (len(clean), len(worse)) == (208, 416)
    quality, centre, background = torch.tensor(clean[["quality", "centre", "background"]].to_numpy().T)
    fitted = calibration.fit(quality, centre, background, degraded=torch.tensor(worse["quality"].to_numpy()))
    assert (model.scaling.alpha, model.scaling.r) == pytest.approx((fitted.alpha, fitted.r), rel=1e-3)
    assert model.scaling.gamma == pytest.approx(fitted.gamma, abs=0.011)
    percentiles = np.percentile(clean["quality"][clean["reference"] == "yes"], range(101))
    np.testing.assert_allclose(model.reference_statistics.quality_percentiles, percentiles, atol=1e-5)
    assert list(model.reference_statistics.maps) == ["level", "signal", "noise", "combined"]
    alarms = model.reference_statistics.alarms.values()
    assert -4.5 < min(alarms) < max(alarms) < -2  # their measurements, the maps, are too large to ship


def test_few_clean_photos_are_off_the_scale(model):
    """At most 6 % at the lower end and none at the upper one; of all versions, 5 % by definition."""
    rows = development_rows(model)
    rows = rows[rows["covered"] == ""]
    quality = torch.tensor(rows["quality"].to_numpy())
    scaled = plqlite.scale_quality(quality, model.scaling.alpha, model.scaling.r)
    off = (scaled < 0.05) | (scaled > 0.95)
    assert off.double().mean().item() == pytest.approx(0.05, abs=0.003)
    clean = scaled[torch.tensor((rows["version"] == "").to_numpy())]
    assert (clean < 0.05).double().mean() <= 0.06
    assert clean.max() < 0.95


def test_alpha_and_r_count_degraded_versions():
    clean, worse = torch.tensor([0.90, 0.92]), torch.tensor([0.70, 0.80])
    strong, faint = torch.full((2,), 4e-5), torch.full((2,), 1e-5)
    scaling = calibration.fit(clean, strong, faint, degraded=worse)
    assert (scaling.alpha, scaling.r) == pytest.approx(
        plqlite.fit_scaling(torch.cat([clean, worse])), rel=1e-2
    )


# --- alarms ---


def clean_faces(count, spread, seed=0):
    """Made-up measurements; the noise of each place has a spread of its own."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(count, 28, 28, generator=generator) * spread
    return Measurements(*torch.rand(3, count, generator=generator), {"level": level})


def test_alarms_let_five_of_a_hundred_new_faces_through(sface):
    """Of people that the alarms were not fitted on."""
    shared = torch.randn(2000, 1, 1, generator=torch.Generator().manual_seed(4))
    faces = clean_faces(2000, torch.ones(28, 28))
    faces.maps["level"] += shared * torch.linspace(2, 0, 28)[:, None]  # foreheads differ together
    alarms = fit_alarms(sface, rows_of(faces, torch.arange(2000) < 1000))
    assert list(alarms) == list(calibration.ALARMS)
    assert max(alarms.values()) < 0
    reference = fit_reference_statistics(rows_of(faces, torch.arange(2000) < 1000))
    z = region_z_scores(deviation(rows_of(faces, torch.arange(2000) >= 1000).maps, reference, 112), sface)
    named = torch.stack([z[name] < alarms[name] for name in alarms]).any(0)
    assert 0.035 <= named.double().mean() <= 0.06
    by_part = {name: (z[name] < alarms[name]).double().mean().item() for name in alarms}
    assert 0.003 < min(by_part.values()) < max(by_part.values()) < 0.02  # all parts alike


def test_alarms_judge_each_subject_by_the_others(sface):
    """Twenty photos of one odd subject: told apart as one, they deviate; as twenty people, they do not."""
    faces = clean_faces(60, torch.ones(28, 28))
    faces.maps["level"][:20, :14] -= 3.0
    alone = fit_alarms(sface, faces, ["ada"] * 20 + list(range(40)))
    mixed = fit_alarms(sface, faces)
    assert alone["forehead"] < mixed["forehead"] - 2


def test_blurred_faces_are_judged_but_not_learnt_from(sface):
    faces = clean_faces(60, torch.ones(28, 28))
    learnt = torch.arange(60) < 40
    faces.maps["level"][40:, 20:] -= 6.0  # lower chins, in a third of them
    alarms = fit_alarms(sface, faces, learnt=learnt)
    clean = fit_alarms(sface, rows_of(faces, learnt))
    assert alarms["chin"] < clean["chin"] - 2
    assert fit_alarms(sface, rows_of(faces, torch.arange(60) < 19)) == calibration.ALARMS  # too few
    assert fit_alarms(sface, faces, learnt=torch.arange(60) < 19) == calibration.ALARMS
    faces = clean_faces(60, torch.ones(28, 28))
    faces.maps["level"][40:] *= 3.0  # in a third of them, everything varies more
    alarms = fit_alarms(sface, faces, learnt=learnt)
    z = region_z_scores(deviation(faces.maps, fit_reference_statistics(rows_of(faces, learnt)), 112), sface)
    named = torch.stack([z[name] < alarms[name] for name in alarms]).any(0)
    assert 0.01 <= named.double().mean() <= 0.1  # of all


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
    with pytest.raises(ValueError, match="fit on several different faces"):
        plqlite.calibrate(tiny, images[:1])
    with pytest.raises(ValueError, match="fit on several"), pytest.warns(UserWarning, match="2 of 3 images"):
        plqlite.calibrate(tiny, images[:1].repeat(3, 1, 1, 1))


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
PAIR = {"mean": GRID, "std": GRID}
CELLS = {"mean": [[1] * 7] * 7, "std": [[1] * 7] * 7}
WHOLE = {
    "maps": {"level": PAIR, "signal": CELLS},
    "quality_percentiles": [1] * 101,
    "alarms": calibration.ALARMS,
}


def maps(**changes):
    return WHOLE | {"maps": WHOLE["maps"] | changes}


@pytest.mark.parametrize(
    "statistics",
    [
        {"maps": WHOLE["maps"]},
        WHOLE | {"maps": {"signal": CELLS}},
        maps(level={"mean": GRID}),
        maps(level={"mean": [[1]], "std": [[1]]}),
        maps(level={"mean": GRID, "std": [[0] * 28] * 28}),
        maps(signal={"mean": [[1] * 7] * 7, "std": GRID}),
        maps(signal={"mean": [[float("nan")] * 7] * 7, "std": [[1] * 7] * 7}),
        maps(signal={"mean": [[1] * 7] * 7, "std": [[float("inf")] * 7] * 7}),
        maps(signal={"mean": [[1] * 7] * 6, "std": [[1] * 7] * 6}),
        WHOLE | {"quality_percentiles": [1] * 100},
        WHOLE | {"quality_percentiles": [*range(100), 0]},
        WHOLE | {"alarms": {"chin": -3}},
        WHOLE | {"alarms": calibration.ALARMS | {"chin": 0}},
        "letter",
    ],
)
def test_reference_statistics_are_checked(small_copy, statistics):
    model, path = plqlite.from_onnx(small_copy, device="cpu"), small_copy.with_suffix(".scaling.json")
    calibration.save_calibration(path, plqlite.Scaling(1.0, 0.5, 10.0), None, model.identity)
    saved = json.loads(path.read_text("utf-8"))
    saved["scaling"]["reference_statistics"] = WHOLE
    path.write_text(json.dumps(saved), "utf-8")
    read = plqlite.from_onnx(small_copy, device="cpu").reference_statistics
    assert read.maps["signal"].std.tolist() == CELLS["std"]
    saved["scaling"]["reference_statistics"] = statistics
    path.write_text(json.dumps(saved), "utf-8")
    with pytest.raises(ValueError, match=r"r\.scaling\.json is damaged"):
        plqlite.from_onnx(small_copy, device="cpu")


def test_what_is_saved_is_what_is_read(small_copy):
    model = plqlite.from_onnx(small_copy, device="cpu")
    scaling = plqlite.calibrate(model, random_images(21), degraded=random_images(9, seed=7))
    assert scaling.provenance == "calibrate on 21 images and 9 degraded ones; closed form, signed"
    measured = measure(model, random_images(21))
    expected = fit_reference_statistics(measured)
    found, statistics, fitted_for = load_calibration(model.calibration_file)
    assert found == scaling
    both = torch.cat([measured.quality, measure(model, random_images(9, seed=7)).quality])
    assert (scaling.alpha, scaling.r) == pytest.approx(plqlite.fit_scaling(both), rel=1e-3)
    assert fitted_for == model.identity
    assert statistics.alarms == pytest.approx(fit_alarms(model, measured), abs=0.05)
    assert statistics.alarms != calibration.ALARMS
    torch.testing.assert_close(
        statistics.quality_percentiles, expected.quality_percentiles, rtol=1e-4, atol=1e-6
    )
    assert statistics.maps.keys() == expected.maps.keys() == {"level", "signal", "noise", "combined"}
    for name, pair in expected.maps.items():
        for one, other in zip(statistics.maps[name], pair, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)


def test_reference_statistics_of_the_level_alone_are_read():
    """As they were saved between version 0.1 and this one."""
    old = {
        "level_mean": [[-0.5] * 28] * 28,
        "level_std": [[0.25] * 28] * 28,
        "quality_percentiles": [0.5] * 101,
    }
    entry = {"alpha": 279.3, "r": 0.8987, "gamma": 10.8, "reference_statistics": old}
    statistics = calibration.from_json(entry)[1]
    assert [each.tolist() for each in statistics.maps["level"]] == [old["level_mean"], old["level_std"]]
    assert statistics.alarms == calibration.ALARMS


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
    statistics = read.reference_statistics
    assert statistics.maps.keys() == {"level"}
    assert [each.tolist() for each in statistics.maps["level"]] == [usual["mean"], usual["spread"]]
    assert statistics.quality_percentiles.tolist() == usual["quality"]
    assert statistics.alarms == calibration.ALARMS
    explanation = plqlite.explain(read, random_images(2))
    assert explanation.deviation.shape == (2, 16, 16)  # of the level alone
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


@pytest.mark.parametrize("constants", [(float("nan"), 0.9, 11), (60, float("inf"), 11), (60, 0.9, "11")])
def test_constants_are_finite_numbers(constants):
    with pytest.raises(ValueError, match="each constant is a finite number"):
        plqlite.Scaling(*constants)


def test_gamma_stays_in_the_range_of_floats():
    for gamma in (-101, 400):
        with pytest.raises(ValueError, match=f"γ = {gamma}: choose one between -100 and 100"):
            plqlite.Scaling(60, 0.9, gamma)


@pytest.mark.parametrize("text", ["null", "[]", "3", '"text"', "{}", '{"scaling": null}', '{"scaling": []}'])
def test_json_of_something_else_is_damage(small_copy, text):
    small_copy.with_suffix(".scaling.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"r\.scaling\.json is damaged .* calibrate again"):
        plqlite.from_onnx(small_copy)


def test_qualities_of_one_photo_are_said():
    """Thirty-nine copies that were saved again, and another face: an ordinary difference, seen once."""
    quality = torch.full((40,), 0.9) + 1e-5 * torch.linspace(-1, 1, 40)
    quality[0] -= 0.014
    strong, faint = torch.full((40,), 4e-5), torch.full((40,), 1e-5)
    with pytest.warns(UserWarning, match=r"α = \d{4}: nearly all of these faces have one quality"):
        calibration.fit(quality, strong, faint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibration.fit(torch.linspace(0.88, 0.92, 40), strong, faint)


def test_copies_of_an_image_count_once(tiny):
    images = random_images(6)
    expected = plqlite.calibrate(tiny, images)
    with pytest.warns(UserWarning, match="38 of 44 images are copies of others: not counted"):
        found = plqlite.calibrate(tiny, torch.cat([images, images[:1].repeat(38, 1, 1, 1)]))
    assert found == expected
    with pytest.raises(TypeError, match=r"takes one tensor .*, found list"):
        plqlite.calibrate(tiny, list(images))
