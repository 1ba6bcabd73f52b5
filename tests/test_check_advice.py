"""data_scripts/check_advice.py, and the measurements that it shares with calibrate.py."""

import re
import runpy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import plqlite
from conftest import ROOT, built
from plqlite.calibration import Measurements
from plqlite.experiments import versions
from plqlite.experiments.noncompliance import Simulated
from plqlite.experiments.occluders import OCCLUDERS
from plqlite.experiments.versions import RIVALS, listed_faces, measure_versions, read_versions

SCRIPT = runpy.run_path(str(ROOT / "data_scripts" / "check_advice.py"))
SHARE = r"\d+% \[\d+%, \d+%\]"


def in_two_versions(photo, face, image):
    """As it is, and with a black bar over everything below the nose."""
    mask = np.zeros(photo.shape[:2], bool)
    mask[int(face.landmarks[2, 1]) :] = True
    black = np.where(mask[..., None], 0, photo).astype(np.uint8)
    return {"": Simulated(photo, None, False), "bar": Simulated(black, mask, False)}


@pytest.mark.slow
def test_versions_are_measured_as_they_are_explained(few_people, tmp_path):
    model, table, maps = built("sface"), tmp_path / "a.csv", tmp_path / "a.maps.csv"
    photos = {"ada": next(few_people.rglob("astronaut_0001.png"))}
    measure_versions(model, photos, in_two_versions, table, maps, rivals=True)
    rows, measured, covered = read_versions(model, listed_faces(photos, None), table, maps)
    assert rows["version"].tolist() == ["", "bar"]
    assert list(measured.maps) == ["level", "signal", "noise", *RIVALS]
    image = plqlite.load_face(photos["ada"], model)
    explanation = plqlite.explain(model, image)
    assert measured.quality[0].item() == pytest.approx(explanation.quality.item(), abs=1e-5)
    torch.testing.assert_close(measured.maps["noise"][:1], explanation.noise, rtol=1e-4, atol=1e-6)
    energy = model.cells(image).square().sum(1)
    torch.testing.assert_close(measured.maps["energy"][:1], energy, rtol=1e-4, atol=1e-4)
    colours = torch.nn.functional.adaptive_avg_pool2d(image, 28)[0]
    for name, colour in zip(("red", "green", "blue"), colours, strict=True):
        torch.testing.assert_close(measured.maps[name][0], colour, rtol=1e-4, atol=1e-2)
    assert covered[0].max() == 0
    assert (covered[1, :12].max(), covered[1, -4:].min()) == (0, 1)
    assert measured.maps["signal"][1, -2:].abs().max() < measured.maps["signal"][0, -2:].abs().max()


def made_up(count=24, seed=0, by=5):
    """Faces of twelve subjects from three sources; behind a scarf the lower half of a map is 5 lower."""
    generator = torch.Generator().manual_seed(seed)
    rows, maps, covered = [], [], []
    for number in range(count):
        plain = {"level": (28, 28), "signal": (7, 7), "noise": (7, 7), **dict.fromkeys(RIVALS[1:], (28, 28))}
        plain["energy"] = (7, 7)
        face = {name: torch.randn(*shape, generator=generator) for name, shape in plain.items()}
        for version in ("", "noise", "behind scarf"):
            facts = {"image": f"{number}", "version": version, "subject": f"s{number % 12}"}
            rows.append(facts | {"source": f"from {number % 3}", "reference": "yes", "covered": ""})
            moved = {name: values.clone() for name, values in face.items()}
            mask = torch.zeros(28, 28)
            if version.startswith("behind"):
                mask[14:] = 1.0
                for name in ("level", "signal", "noise"):
                    moved[name][len(moved[name]) // 2 :] -= by
            maps.append(moved)
            covered.append(mask)
    together = {name: torch.stack([each[name] for each in maps]) for name in maps[0]}
    quality = torch.rand(len(rows), generator=generator)
    rows = pd.DataFrame(rows).assign(quality=quality.numpy())
    return rows, Measurements(quality, quality, quality, together), torch.stack(covered)


@pytest.mark.parametrize("apart", ["subject", "source"])
def test_what_is_lower_behind_an_occluder_is_found(apart):
    model = built("sface")
    judged = SCRIPT["judge"](model, *made_up(count=72), apart)
    assert SCRIPT["place_auc"](judged, "deviation").mean > 0.9
    assert SCRIPT["photo_auc"](model, judged, "deviation").mean > 0.9
    for name in ("colours", "energy"):  # nothing has happened to these
        assert abs(SCRIPT["place_auc"](judged, name).mean - 0.5) < 0.1
    scarf = SCRIPT["behind"](judged.rows)
    first, masks = judged.rows["first"][scarf], judged.covered[torch.tensor(scarf)]
    right = [SCRIPT["touches"](model, mask, each) for mask, each in zip(masks, first, strict=True)]
    assert np.mean(right) > 0.9
    assert (judged.rows["first"][~scarf] == "").mean() > 0.8


def test_the_deviation_takes_three_maps_and_colours_may_be_brighter_or_darker():
    rows, measured, covered = made_up(count=72, by=1)
    for name in RIVALS[1:]:
        measured.maps[name][2::6, 14:] += 3  # behind a bright scarf, and
        measured.maps[name][5::6, 14:] -= 3  # behind a dark one
    judged = SCRIPT["judge"](built("sface"), rows, measured, covered, "subject")
    alone = [SCRIPT["place_auc"](judged, name).mean for name in SCRIPT["PARTS"]]
    assert SCRIPT["place_auc"](judged, "deviation").mean > max(alone) + 0.02
    assert SCRIPT["place_auc"](judged, "colours").mean > 0.8


@pytest.mark.parametrize("apart", ["subject", "source"])
def test_what_is_measured_of_a_group_does_not_change_how_it_is_judged(apart):
    """One face keeps its numbers, and all others of its group get wild ones: it is judged as before."""
    rows, measured, covered = made_up(count=72)
    own = next(SCRIPT["groups"](rows, apart))
    rest = torch.tensor(own & (rows["image"] != "0").to_numpy())
    wild = measured._replace(
        quality=torch.where(rest, 9.0, measured.quality),
        maps={name: torch.where(rest[:, None, None], 9 * each, each) for name, each in measured.maps.items()},
    )
    before, after = (SCRIPT["judge"](built("sface"), rows, each, covered, apart) for each in (measured, wild))
    for name, values in before.maps.items():
        assert values[:3].equal(after.maps[name][:3]), name
    assert before.rows[:3].equals(after.rows[:3])
    assert (before.rows["scaled"][~own] != after.rows["scaled"][~own]).all()  # the others learn from them


@pytest.mark.parametrize("apart", ["subject", "source"])
def test_nobody_is_judged_by_their_own_group(apart, monkeypatch):
    rows, measured, covered = made_up()
    rows.loc[60:, "reference"] = "no"
    rows.loc[rows["version"] != "", "covered"] = "hat"
    rows.loc[:9, "covered"] = ""
    calls = []

    def watched(model, rows, measured, own, others, learnt):
        calls.append(own)
        assert not (own & others).any()
        assert not set(rows[apart][own]) & set(rows[apart][others])
        assert (rows["covered"][others] == "").all()
        assert (rows["version"][learnt] == "").all()
        assert (rows["reference"][learnt] == "yes").all()
        assert not rows["version"][others].str.startswith("behind").any()
        return original(model, rows, measured, own, others, learnt)

    original = SCRIPT["judge_group"]
    monkeypatch.setitem(SCRIPT["judge"].__globals__, "judge_group", watched)
    SCRIPT["judge"](built("sface"), rows, measured, covered, apart)
    assert (np.sum(calls, axis=0) == 1).all()  # each face once
    assert len(calls) == {"subject": 10, "source": 3}[apart]


def test_a_region_is_touched_from_a_tenth_on():
    touches, covered = SCRIPT["touches"], torch.zeros(28, 28)
    covered[20, 10:14] = 1.0  # 4 by 16 of the 20 by 40 pixels of the mouth: less than a tenth
    assert not touches(built("sface"), covered, "mouth")
    covered[20:25] = 1.0  # rows 80 to 100 of 112: the mouth
    assert not touches(built("sface"), covered, "")
    assert touches(built("sface"), covered, "mouth")
    assert touches(built("sface"), covered, "left cheek")  # its lower part
    assert not touches(built("sface"), covered, "both eyes")


def test_tables_count_what_they_say():
    model, (rows, _, covered) = built("sface"), made_up(count=12)
    plain, worse, scarf = (rows["version"] == each for each in ("", "noise", "behind scarf"))
    rows["quality"] = np.where(worse, 0.4, 0.5)
    rows.loc[worse.idxmax(), "quality"] = 0.6  # one in twelve is better than its original
    rows["scaled"] = np.where(plain & (rows.index < 9), 0.01, 0.5)  # three in twelve
    rows["first"] = np.where(scarf, "mouth", "")
    rows.loc[scarf & (rows.index < 18), "first"] = "forehead"  # half of them
    judged = {"sface": SCRIPT["Judged"](rows, {}, covered)}
    found = re.sub(r" \[[^]]*\]", "", SCRIPT["level_table"](judged, [model])).splitlines()
    assert found[-1] == "| sface | 25% | 0% | 12 | 92% | 12 |"
    for chosen, expected in [(plain, " 0% | |"), (worse, " 0% | |"), (scarf, " 100% | 50% |")]:
        cells = SCRIPT["named_cells"](model, judged["sface"], chosen.to_numpy())
        assert re.sub(r" \[[^]]*\]", "", cells) == expected


@pytest.mark.slow
def test_the_script_resumes_and_writes_three_tables(run_script, people, tmp_path, interrupt):
    calls = interrupt(versions, "measure", at=3)
    out = tmp_path / "advice.md"
    with pytest.raises(SystemExit, match="130"):
        run_script("check_advice", people, "--model", "sface", "--out", out)
    assert not out.exists()
    run_script("check_advice", people, "--model", "sface", "--out", out)
    assert len(calls) == 3 + 9 - 2
    find, name, level = out.read_text("utf-8").strip().split("\n\n")
    assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", find)) == 6 * 2
    for kind in OCCLUDERS:
        assert re.search(rf"^\| drawn: {kind} \| {SHARE} \| {SHARE} \| 9 \|$", name, re.M), kind
    assert re.search(rf"^\| as they are \| {SHARE} \| \| 9 \|$", name, re.M)
    assert re.search(rf"^\| sface \| {SHARE} \| {SHARE} \| 9 \| {SHARE} \| 18 \|$", level, re.M)


def test_advice_is_checked_on_three_subjects_or_more(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_script("check_advice", tmp_path, "--out", tmp_path / "advice.md")
    assert "should hold photos of faces" in capsys.readouterr().err


@pytest.mark.slow
def test_two_subjects_are_too_few(run_script, few_people, tmp_path, capsys):
    shutil.rmtree(few_people / "astronaut")
    with pytest.raises(SystemExit):
        run_script("check_advice", few_people, "--model", "sface", "--out", tmp_path / "advice.md")
    assert "should hold photos of three people or more" in capsys.readouterr().err
