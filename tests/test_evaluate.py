"""data_scripts/evaluate.py and what it measures of one face."""

import itertools
import json
import runpy
from argparse import Namespace
from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import plqlite
from conftest import ROOT, random_images, times, tiny_model
from plqlite.experiments import evaluation, rivals
from plqlite.experiments.evaluation import SCORES, deletion_rows, from_text, in_text, quality_scores
from plqlite.experiments.faithfulness import (
    SHARES,
    area_between,
    embedding_and_quality,
    fills,
    relevance_gain,
)
from plqlite.experiments.inpainters import to_array
from plqlite.faces import largest_face

SCRIPT = runpy.run_path(str(ROOT / "data_scripts" / "evaluate.py"))
ASTRONAUT = plqlite.sample_faces()["astronaut"]


def test_scores_are_what_they_are_called(sface):
    face = largest_face(ASTRONAUT)
    image = sface.crop(ASTRONAUT, face)
    scores, embedding = quality_scores(sface, image, ASTRONAUT, face)
    assert list(scores) == list(SCORES)
    assert scores["closed form"] == pytest.approx(plqlite.ser_fiq_closed_form(sface, image[None]).item())
    assert scores["sampled"] == pytest.approx(plqlite.ser_fiq(sface, image[None]).item(), abs=1e-6)
    assert scores["face size"] == pytest.approx(face.box[2] - face.box[0])
    assert 0.9 < scores["detector"] <= 1
    torch.testing.assert_close(embedding, sface(image[None])[0])
    worse = torch.nn.functional.avg_pool2d(image[None], 5, 1, 2)[0]
    blurred, _ = quality_scores(sface, worse, np.zeros((50, 50, 3), np.uint8), face)
    for name in ("closed form", "sampled", "sharpness", "mean P", "signal for noise"):
        assert blurred[name] < scores[name], name
    assert blurred["detector"] == 0  # nobody is found


def test_curves_in_a_table_give_the_gain_of_the_map():
    model, image = tiny_model(), random_images(1)[0]
    average, values = torch.full_like(image, 100.0), torch.rand(16, 16)
    mate = model(random_images(1, seed=7))[0]
    rows = pd.DataFrame(deletion_rows(model, image, mate, {"some": values}, average))
    assert rows["fill"].unique().tolist() == ["average face", "blur", "imputed"]
    of_average = rows[rows["fill"] == "average face"].set_index("first")
    for name, index in (("score", 0), ("quality", 1)):

        def measure(images, index=index):
            e, q = embedding_and_quality(model, images)
            return (e @ mate, q)[index]

        expected = relevance_gain(measure, image, values, fills(average)["average face"])
        found = area_between(*(from_text(of_average[name][first]) for first in ("low", "high")))
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_curve_has_a_value_for_each_share():
    assert area_between(from_text(in_text(list(SHARES))), np.zeros(20)) == pytest.approx(0.475)


def test_maps_are_held_against_two_others_on_the_same_photo_with_the_same_fill():
    keys = itertools.product(["ada/1.jpg", "bob/1.jpg"], ["blur", "average face"])
    rows = pd.DataFrame(
        {"model": "sface", "image": image, "fill": fill, "map": name, "fall": height + step * extra}
        for step, (image, fill) in enumerate(keys)
        for name, height, extra in (("centre", 0.25, 1), ("PLQ, signed", 0.5, 1), ("other", 0.75, 0))
    )
    found = SCRIPT["by_fill"](rows, ["fall"]).set_index(["map", "fill", "ahead_of"])
    assert found["mean"]["PLQ, signed", "all", ""] == 0.5 + (0 + 1 + 2 + 3) / 4
    assert found["mean"]["centre", "blur", ""] == 0.25 + (0 + 2) / 2
    plq = found.loc[("PLQ, signed", "all", "centre")]
    assert (plq["mean"], plq["low"], plq["high"], plq["count"]) == (0.25, 0.25, 0.25, 2)  # for both photos
    assert found["mean"]["other", "all", "PLQ, signed"] == 0.25 - 1.5
    assert len(found) == 3 * (2 + 3)


@pytest.mark.slow
def test_the_script_resumes_and_writes_small_tables(few_people, run_script, tmp_path, monkeypatch, interrupt):
    for folder in few_people.iterdir():  # a second photo of each person
        if folder.is_dir():
            photo = Image.open(next(folder.glob("*_0001.png")))
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{folder.name}_0002.png")
    few = {"centre": rivals.centre, "signal": rivals.part("signal"), "PLQ, signed": rivals.saliency("signed")}
    monkeypatch.setattr(rivals, "all_rivals", lambda *_: few)
    monkeypatch.setattr(evaluation, "intervene", partial(evaluation.intervene, row=3))
    arguments = [
        few_people,
        "--out",
        tmp_path / "out",
        "--model",
        "sface",
        "--interventions",
        1,
        "--sanity",
        9,
    ]
    calls = interrupt(evaluation, "deletion_rows", at=2)
    with pytest.raises(SystemExit, match="130"):
        run_script("evaluate", *arguments)
    run_script("evaluate", *arguments)
    assert len(calls) == 2 + 2
    results = tmp_path / "out" / "results"
    read = {path.stem: pd.read_csv(path) for path in results.glob("*.csv")}
    tables = {"agreement", "gain", "sanity", "cost", "sensitivity"}
    assert set(read) == {"discard_areas", "discard_curves", *tables}
    agreement = read["agreement"]
    assert len(agreement) == 3 * (3 + 3) * 2  # maps, fills and all of them against two, shift and fall
    assert (agreement["count"] == 3).all()
    assert agreement[agreement["ahead_of"].isna()]["mean"].abs().max() <= 1
    gain = read["gain"]
    assert len(gain) == 3 * (3 + 3) * 3
    assert set(read["sanity"]["stage"]) == {"head", "25 %", "50 %", "75 %", "100 %"}
    assert read["sanity"].query("map == 'centre' and measure == 'rho'")["mean"].min() == 1
    areas = read["discard_areas"]
    assert set(areas["score"]) == {*SCORES, "random"}
    assert areas["fmr"].unique().tolist() == [0.1]  # 12 impostor pairs do not reach one in a hundred
    about = json.loads((results / "about.json").read_text("utf-8"))
    assert about["photos"] == 8
    assert about["command"].startswith("python data_scripts/evaluate.py people --out out --model sface")
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]
    before = times(tmp_path / "out")
    run_script("evaluate", *arguments)
    assert {path for path, time in times(tmp_path / "out").items() if before[path] != time} <= {
        *results.iterdir()
    }


def test_scores_by_hand(sface):
    photo = plqlite.sample_faces()["astronaut"]
    face = largest_face(photo)
    image = sface.crop(photo, face)
    scores, _ = quality_scores(sface, image, photo, face, seed=1)
    explained = plqlite.explain(sface, image[None])
    with torch.no_grad():
        norm = sface.head(sface.features(image[None])).norm().item()
    grey = cv2.cvtColor(to_array(image), cv2.COLOR_RGB2GRAY)
    expected = {
        "sampled": plqlite.ser_fiq(sface, image[None], seed=1).item(),
        "norm": norm,
        "signal for noise": (explained.signal.sum() / explained.noise.sum().sqrt()).item(),
        "mean P": explained.plq.mean().item(),
        "mean deviation": explained.deviation.mean().item(),
        "sharpness": cv2.Laplacian(grey, cv2.CV_64F).var(),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_gains_by_hand():
    curves = {"low": (0.9, 0.8), "high": (0.1, 0.6)}
    rows = pd.DataFrame(
        {
            "model": model,
            "image": "ada/1",
            "map": "PLQ",
            "fill": "blur",
            "first": first,
            "score": in_text([score] * 20),
            "quality": in_text([quality] * 20),
        }
        for model in ("sface", "facenet")
        for first, (score, quality) in curves.items()
    )
    found = SCRIPT["gains"](rows, {"sface": 0.9, "facenet": 0.05}).set_index("model")
    assert found["gain of score"].tolist() == pytest.approx([0.8, 0.8])
    assert found["gain of quality"].tolist() == pytest.approx([0.2, 0.2])
    assert found["gain of matches"].to_dict() == pytest.approx({"sface": 1, "facenet": 0})


def test_pairs_of_photos_as_they_are():
    rows = pd.DataFrame(
        {"image": image, "version": version, "embedding": in_text([x, y])}
        for image, x, y in (("ada/1", 1, 0), ("ada/2", 1, 1), ("bob/1", 0, 1))
        for version in ("", "blur")
    )
    pairs, clean = SCRIPT["pairs_of"](rows)
    assert (len(pairs.score), pairs.genuine.sum()) == (3 * 4, 4)
    assert (clean.first.tolist(), clean.second.tolist()) == ([0, 0, 2], [2, 4, 4])
    assert clean.genuine.tolist() == [True, False, False]
    assert clean.score.tolist() == pytest.approx([0.5**0.5, 0, 0.5**0.5])


def test_intervals_are_over_people_not_photos():
    rows = pd.DataFrame({"map": "PLQ", "image": ["ada/1", "ada/2"], "fall": [0.0, 1.0]})
    found = SCRIPT["over_people"](rows, ["map"], ["fall"])
    assert found[["low", "high"]].isna().all(axis=None)  # one person says nothing of others


def test_a_mate_is_another_photo_and_others_are_other_people(monkeypatch, tmp_path):
    """Photos 0 and 1 are of ada, 2 and 3 of bob: a mate is the other photo, the average the other person."""
    there, calls = SCRIPT["measure_maps"].__globals__, []
    names = ["ada/1", "ada/2", "bob/1", "bob/2"]
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 2, 2)
    faces = there["Faces"](names, np.array(["ada", "ada", "bob", "bob"]), images, images[:, 0], torch.eye(4))
    monkeypatch.setitem(there, "aligned", lambda *_: faces)
    seen = []

    def all_rivals(model, others, mean_map, seed):
        seen.append(others[:, 0, 0, 0].tolist())
        return {"some": None}

    def measured(name, model, image, mate, rivals, maps, average, seed):
        calls.append((name, image[0, 0, 0].item(), mate.argmax().item(), average[0, 0, 0].item()))
        return []

    monkeypatch.setitem(there, "all_rivals", all_rivals)
    monkeypatch.setitem(there, "measured", measured)
    monkeypatch.setitem(there, "append_rows", lambda *_: None)
    keys = {name: {"model": "sface", "image": name, "sha256": name} for name in names}
    options = Namespace(seed=0, out=tmp_path, interventions=9, deletions=1, sanity=1)
    SCRIPT["measure_maps"](Namespace(name="sface"), dict.fromkeys(names), keys, options)
    assert [each[1:] for each in calls if each[0] == "agreement"] == [
        (0, 1, 2.5),
        (1, 0, 2.5),
        (2, 3, 0.5),
        (3, 2, 0.5),
    ]
    assert [each[1] for each in calls if each[0] == "deletion"] == [0, 2]
    assert [each[1] for each in calls if each[0] == "sanity"] == [0]
    assert seen == [[2, 3], [0, 1]]


def test_the_threshold_is_that_of_the_photos_as_they_are(monkeypatch, tmp_path):
    seen = []

    def threshold(pairs):
        seen.append(len(pairs.score))
        raise KeyboardInterrupt

    rows = pd.DataFrame(
        {"model": "sface", "image": image, "version": version, "embedding": "1.0 0.0"}
        for image in ("ada/1", "ada/2", "bob/1")
        for version in ("", "blur")
    )
    there = SCRIPT["summarise"].__globals__
    monkeypatch.setitem(there, "equal_error_threshold", threshold)
    monkeypatch.setitem(there, "read_table", lambda path, columns: rows)
    with pytest.raises(KeyboardInterrupt):
        SCRIPT["summarise"](tmp_path, ["sface"], 0)
    assert seen == [3]  # three photos, two at a time
