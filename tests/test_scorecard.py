"""docs/scorecard.md is current, complete, and its verdicts are those of the intervals."""

import json
import re
import runpy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import ROOT, built, random_images, tiny_model

RESULTS = ROOT / "docs" / "results"
PAGE = (ROOT / "docs" / "scorecard.md").read_text("utf-8")
TABLE = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]  # without its head


card, measuring = (
    SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / f"{name}.py")))
    for name in ("make_scorecard", "measure_claims")
)


def test_the_page_is_what_the_script_writes():
    assert card.scorecard() == PAGE


def test_every_figure_and_every_section_with_findings_is_there():
    named = re.findall(r"Fig\. ([\d, a-d]+)", PAGE)
    assert {int(each) for part in named for each in re.findall(r"\d+", part)} == set(range(1, 16))
    sections = set(re.findall(r"§[\d.]*\d", "\n".join(TABLE)))
    assert {"§5.1", "§5.2", "§5.3", "§5.4", "§6", "§8.2", "§8.3", "§8.4.1", "§8.4.2"} <= sections


def test_every_claim_has_a_row_and_a_link():
    """Whether it leads somewhere, test_project tells."""
    assert len(TABLE) == len(card.read_claims())
    for line in TABLE:
        assert re.search(r"\]\(\.\./notebooks/\w+\.ipynb#\S+\)\) \|$", line)


def claim(**changes):
    return card.Claim("§1", "it is so", "", ["one", "two"], 0.5, ["", ""])._replace(**changes)


def measures(**intervals):
    rows = {
        name: {"mean": sum(each) / 2, "low": each[0], "high": each[1]} for name, each in intervals.items()
    }
    return pd.DataFrame(rows).T


@pytest.mark.parametrize(
    ("one", "two", "changes", "expected"),
    [
        ((0.6, 0.7), (0.8, 0.9), {}, "reproduced"),
        ((0.6, 0.7), (0.4, 0.9), {}, "weaker"),
        ((0.6, 0.7), (0.1, 0.2), {}, "weaker"),
        ((0.4, 0.7), (0.4, 0.9), {}, "not settled"),
        ((0.4, 0.7), (0.1, 0.2), {}, "contradicted"),
        ((0.6, 0.7), (0.8, 0.9), {"clearly": 0.65}, "reproduced"),
        ((0.6, 0.7), (0.8, 0.9), {"clearly": 0.75}, "weaker"),
        ((0.6, 0.7), (0.8, 0.9), {"below": True}, "contradicted"),
        ((0.1, 0.2), (0.3, 0.4), {"below": True}, "reproduced"),
        ((0.1, 0.2), (0.3, 0.4), {"below": True, "clearly": 0.25}, "weaker"),
        ((0.1, 0.2), (0.3, 0.4), {"below": True, "clearly": 0.45}, "reproduced"),
        ((0.6, 0.7), (0.3, 0.4), {"measures": ["one"], "bound": "two"}, "reproduced"),
        ((0.6, 0.7), (0.3, 0.65), {"measures": ["one"], "bound": "two"}, "not settled"),
        ((0.6, 0.7), (0.8, 0.9), {"untested": "no weights"}, "not tested: no weights"),
    ],
)
def test_intervals_decide(one, two, changes, expected):
    assert card.verdict(claim(**changes), measures(one=one, two=two)) == expected


def stored():
    return pd.read_csv(RESULTS / "claims.csv").set_index(["model", "measure"])


def written(row, percent=False):
    values = (100 if percent else 1) * row[["mean", "low", "high"]].astype(float)
    return "{} [{}, {}]".format(*(f"{value:.{0 if percent else 2}f}" for value in values))


@pytest.mark.parametrize(("network", "name"), [("sface", "SFace"), ("facenet", "FaceNet")])
def test_the_tables_of_05_and_06_say_the_same(network, name):
    masks = (ROOT / "notebooks" / "05_random_masks.py").read_text("utf-8")
    colours = (ROOT / "notebooks" / "06_mask_colours.py").read_text("utf-8")
    rows = stored().loc[network]
    for size in (10, 20, 30, 40, 50):
        (line,) = re.findall(rf"^# \| {name}, {size} \| (.*) \|$", masks, re.M)
        pixels, image, _, auc = line.split(" | ")
        assert pixels == written(rows.loc[f"Δ_p > 0, {size} px"], percent=True)
        assert image == written(rows.loc[f"Δ_Q̂ > 0, {size} px"], percent=True)
        assert auc == written(rows.loc[f"AUC, {size} px"])
    lines = re.findall(r"^# \| (\w+) \| (\d\.\d+ \[.*?\]) \| (\w+) \| (\d\.\d+ \[.*?\]) \|$", colours, re.M)
    assert len(lines) == 13
    for line in lines:
        colour, auc = line[:2] if network == "sface" else line[2:]
        assert auc == written(rows.loc[f"AUC, {colour}"])


def test_the_table_of_04_says_the_same():
    text = (ROOT / "notebooks" / "04_inpainting.py").read_text("utf-8")
    rows = pd.read_csv(RESULTS / "inpainting.csv").set_index(["measure", "model"])
    for measure, label, percent in (
        ("IoU", "mean IoU", False),
        ("up", "where there is one, $Q$ up by more than the noise", True),
        ("down", "where there is one, $Q$ down by more than the noise", True),
        ("a region in clean faces", "a region in clean faces (74 photos)", True),
    ):
        (line,) = re.findall(rf"^# \| {re.escape(label)} \| (.*) \|$", text, re.M)
        expected = [written(rows.loc[(measure, each)], percent) for each in ("sface", "facenet")]
        assert line.replace(" %", "") == " | ".join(expected)


@pytest.mark.parametrize(
    ("about", "program"),
    [("claims.json", "docs/measure_claims.py"), ("evaluation/about.json", "data_scripts/evaluate.py")],
)
def test_results_say_how_they_were_made(about, program):
    known = json.loads((RESULTS / about).read_text("utf-8"))
    assert known["command"].startswith(f"python {program} ")
    assert "/" not in known["command"].removeprefix(f"python {program} ")  # no path of a machine
    assert known["photos"] >= 74
    assert known["versions"]["torch"]


def test_the_findings_in_readme():
    """SFace's number first, then FaceNet's."""
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split()).replace("−", "-")
    networks = [card.read_results().loc[each] for each in ("sface", "facenet")]

    def said(text, *names, digits=2):
        numbers = [f"{rows.loc[name, 'mean']:.{digits}f}" for name in names for rows in networks]
        assert text.format(*numbers) in readme, text.format(*numbers)

    said("with the fall of Q when patches are replaced is {} and {};", "fall, PLQ, signed")
    said("with a rank correlation of {} and {}. A Gaussian", "shift, PLQ, signed")
    said("reaches {} and {}. 3.", "shift, centre")
    said("the mean error is {} and {} of what it was (luck: 1.00)", "closed form, FMR 0.01, limit 0.5")
    luck = [f"{rows.loc['random, FMR 0.01, limit 0.5', 'mean']:.2f}" for rows in networks]
    assert luck == ["1.00", "1.00"]
    maps = pd.read_csv(RESULTS / "evaluation" / "agreement.csv")["map"].nunique()
    assert f"none of {maps} maps is clearly better" in readme
    said("which costs nothing, reaches {} and {}.", "norm, FMR 0.01, limit 0.5")
    said("(correlation of logarithms {} and {})", "correlation of level and |Σe|, summed", digits=3)
    signed, summed = (f"spread of the level, {reading}" for reading in ("signed", "summed"))
    said("varies {}- and {}-fold", signed, digits=1)
    said("not {}- and {}-fold", summed, digits=0)


def test_spread_and_discordance():
    values = np.arange(1.0, 102.0)  # 5th percentile 6, 95th 96
    assert measuring.spread(values) == pytest.approx(16)
    subjects = np.repeat([*"abcde"], 3)
    one = np.arange(15.0)
    assert measuring.discordant(one, one, subjects).mean == 0
    assert measuring.discordant(one, -one, subjects)[:3] == (1, 1, 1)
    swapped = one.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    estimate = measuring.discordant(one, swapped, subjects)
    assert estimate.mean == pytest.approx(1 / 105)  # one of 15 · 14 / 2 pairs
    assert estimate.low == 0 < estimate.high
    assert estimate.count == 15


def test_the_range_of_the_development_set():
    """Of the photos whose face nothing covers, as they are, without their degraded versions."""
    ((_, estimate),) = measuring.of_development_set(built("sface"))
    assert estimate.count == 208
    assert 0.8 < estimate.low < estimate.mean < estimate.high < 0.95


PARTS = [(side, part) for side in ("left", "right") for part in ("eye", "cheek")]


def lit(left, right):
    """Rows of one face, lit from the left, from the right and evenly."""
    heights = {"reference": (0.5, 0), "illumination-left": left, "illumination-right": right}
    rows = [
        {"slot": slot, "image": "ada"} | {f"{side} {part}": pair[side == "right"] for side, part in PARTS}
        for slot, pair in heights.items()
    ]
    return pd.DataFrame(rows).set_index(["slot", "image"])


def test_the_lit_side():
    found = {name: estimate.mean for name, estimate in measuring.of_light(lit((-1, 0), (0, -1)))}
    assert found == {"lit side lower": 1, "lit side falls further": 1}
    found = {name: estimate.mean for name, estimate in measuring.of_light(lit((0.25, 0), (0.25, 0)))}
    assert found == {"lit side lower": 0.5, "lit side falls further": 0.5}
    found = means(measuring.of_light(lit((0.4, 0), (0.6, 0))))  # brighter on the left in any light
    assert found["lit side falls further"] == 1


def test_bounds_are_compared_as_they_are_written():
    assert card.written(pd.Series({"mean": 0.998, "low": 0.996, "high": 1.0}), percent=True) == "100"


def test_all_fills_are_the_mean_of_each():
    rows = pd.read_csv(RESULTS / "evaluation" / "agreement.csv", keep_default_na=False).query(
        "ahead_of == ''"
    )
    keys = ["model", "map", "measure"]
    each = rows[rows["fill"] != "all"].groupby(keys)["mean"].mean()
    found = rows[rows["fill"] == "all"].set_index(keys)["mean"].loc[each.index]
    np.testing.assert_allclose(each, found, atol=1e-3)


@pytest.mark.slow
def test_all_that_is_stored_is_measured(few_people, monkeypatch):
    samples = dict(list(plqlite.sample_faces().items())[:2])
    monkeypatch.setattr(plqlite, "sample_faces", lambda: samples)
    photos = {path.relative_to(few_people).as_posix(): path for path in sorted(few_people.glob("*/*.png"))}
    subjects = [name.split("/")[0] for name in photos]
    found = dict(measuring.measures_of(built("sface"), photos, subjects))
    assert list(found) == list(stored().loc["sface"].index)
    assert found["spread of the level, summed"].mean > found["spread of the level, signed"].mean
    assert found["spread left after clipping"].mean <= 1
    assert found["correlation of level and |Σe|, summed"].mean < -0.9
    assert found["glasses, lenses / frame"].mean < 1


def means(measures):
    return {name: estimate.mean for name, estimate in measures}


def test_masks_by_hand():
    who = {"identity": ["ada", "bob"], "image": ["ada/1", "bob/1"]}
    rows = pd.DataFrame(
        who | {"size": 10, "delta_q": 0.1, "delta_p": [-0.1, 0.2], "auc": 0.75, "clean_auc": 0.5}
    )
    assert means(measuring.of_masks(rows)) == {
        "Δ_Q̂ > 0, 10 px": 1,
        "Δ_p > 0, 10 px": 0.5,
        "AUC, 10 px": 0.75,
        "rise of the AUC, 10 px": 0.25,
    }


def test_colours_by_hand():
    values = {"cyan": 0.875, "black": 0.375, "magenta": 0.5, "orange": 0.75}
    rows = pd.DataFrame(
        {"identity": who, "image": f"{who}/1", "colour": colour, "auc": auc, "delta_p": -auc}
        for who in ("ada", "bob")
        for colour, auc in values.items()
    )
    found = means(measuring.of_colours(rows))
    assert found == {f"AUC, {c}": v for c, v in values.items()} | {
        f"Δ_p, {c}": -v for c, v in values.items()
    } | {
        "AUC, cyan less black": 0.5,
        "AUC, magenta less orange": -0.25,
    }


def test_inpainting_that_restores_the_face(sface, monkeypatch):
    photos = dict(list(plqlite.sample_faces().items())[:3])
    clean = iter([plqlite.load_face(photo, sface)[0] for photo in photos.values()])
    there, others = measuring.of_inpainting.__globals__, []
    monkeypatch.setitem(there, "average_face", others.append)
    monkeypatch.setitem(there, "inpaint", lambda image, mask, average: next(clean))
    found = means(measuring.of_inpainting(sface, photos))
    assert min(found.values()) > 0, found
    assert [len(each) for each in others] == [2, 2, 2]  # never oneself


def test_levels_by_hand():
    """By the definition: M_Q under the literal reading is Q̂ · Σe / Σ|e|."""
    model, images = tiny_model().double(), random_images(3).double()
    with torch.no_grad():
        e = model(images)
    found = means(measuring.of_levels(model, images, list("abc")))
    expected = (1 - e.sum(-1) / e.abs().sum(-1)).abs().mean().item()
    assert found["|M_Q − Q̂| / Q̂, literal"] == pytest.approx(expected)


def test_glasses_by_hand(sface, monkeypatch):
    photos = dict(list(plqlite.sample_faces().items())[:2])
    monkeypatch.setitem(
        measuring.of_glasses.__globals__, "frame_and_lenses", lambda pair, frame: (0.5, 0.125)
    )
    assert means(measuring.of_glasses(sface, photos)) == {
        "glasses, frame less lenses": 0.375,
        "glasses, lenses / frame": 0.25,
    }


def test_subjects_are_drawn_with_replacement():
    subjects = np.repeat([*"abcdefghij"], 10)
    values = np.repeat(np.arange(10.0), 10)  # all photos of a subject alike: as uncertain as ten values
    estimate = measuring.over_subjects(np.mean, [values], subjects)
    assert estimate.mean == 4.5
    assert estimate.count == 100
    width = 2 * 1.96 * values.std() / 10**0.5
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.1)
