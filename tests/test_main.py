import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import plqlite
from conftest import press_ctrl_c, reuse_networks
from plqlite.command_line import describe, main
from plqlite.networks.weights import SFACE, find_weights

KEYS = ["image", "model", "quality", "scaled_quality", "plq_mean", "reading", "passes", "seed"]


@pytest.fixture(autouse=True)
def networks_are_there(monkeypatch):
    reuse_networks(monkeypatch)


@pytest.fixture
def hopper(tmp_path):
    path = tmp_path / "hopper.png"
    Image.fromarray(plqlite.sample_faces()["grace_hopper"]).save(path)
    return str(path)


@pytest.mark.slow
def test_sample_portrait_with_both_models(tmp_path):
    """As a stranger runs it: another process, no arguments."""
    run = subprocess.run([sys.executable, "-m", "plqlite"], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0
    assert run.stderr == ""
    assert "astronaut  sface    quality Q = 0.900" in run.stdout
    assert "astronaut  facenet  quality Q = 0.820" in run.stdout
    assert "notebooks/00_quickstart.ipynb" in run.stdout
    assert Image.open(tmp_path / "plq.png").size[0] > 500


def test_json_prints_two_lines_and_no_picture(tmp_path, capsys):
    assert main(["--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["model"] for line in lines] == ["sface", "facenet"]
    assert all(list(line) == KEYS for line in lines)
    assert lines[0]["passes"] is None
    assert not list(tmp_path.iterdir())


def test_options_reach_the_method(hopper, tmp_path, capsys):
    out = tmp_path / "hopper_plq.png"
    options = [
        "--model",
        "sface",
        "--passes",
        "20",
        "--reading",
        "summed",
        "--device",
        "cpu",
        "--out",
        str(out),
        "--json",
    ]
    assert main([hopper, *options]) == 0
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    model = plqlite.sface(device="cpu")
    expected = plqlite.explain(model, plqlite.load_face(hopper, model), passes=20, reading="summed")
    assert line["passes"] == 20
    assert line["quality"] == pytest.approx(expected.quality.item())
    assert line["plq_mean"] == pytest.approx(expected.plq.mean().item())
    assert out.exists()


def test_advice_on_the_command_line(hopper, facenet, tmp_path, capsys):
    advice = plqlite.advise(facenet, plqlite.explain(facenet, plqlite.load_face(hopper, facenet)))
    assert main([hopper, "--model", "facenet", "--advise", "--out", str(tmp_path / "a.png")]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert "quality Q =" in first
    assert [line.strip() for line in lines[:-1]] == advice.text.splitlines()
    assert main([hopper, "--model", "facenet", "--advise", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert list(line) == [*KEYS, "advice", "regions", "percentile"]
    assert line["advice"] == advice.text
    assert line["regions"] == pytest.approx(advice.z)


def test_advice_compares_like_with_like(hopper, capsys):
    with pytest.raises(SystemExit) as end:
        main([hopper, "--advise", "--reading", "summed"])
    assert end.value.code == 2
    assert "--advise compares with photos that were measured with --reading signed" in capsys.readouterr().err


def test_a_model_without_reference_statistics_explains_without_advice(hopper, tmp_path, capsys):
    path = tmp_path / "mine.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    assert main([hopper, "--model", str(path), "--advise", "--json"]) == 1
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == KEYS
    assert "no advice without reference statistics: run data_scripts/calibrate.py" in err


def test_seed_and_passes(hopper, capsys):
    values = []
    for seed in ("0", "0", "1"):
        assert main([hopper, "--model", "facenet", "--passes", "10", "--seed", seed, "--json"]) == 0
        values.append(json.loads(capsys.readouterr().out)["quality"])
    assert values[0] == values[1] != values[2]


def test_bad_image_among_good_ones(hopper, tmp_path, capsys):
    (tmp_path / "letter.jpg").write_text("I am a letter")
    assert main(["letter.jpg", hopper, "missing.jpg", "--model", "sface"]) == 1
    printed = capsys.readouterr()
    assert "letter.jpg cannot be read as an image" in printed.err
    assert "missing.jpg does not exist" in printed.err
    assert "hopper.png  sface" in printed.out
    assert (tmp_path / "plq.png").exists()


def test_out_that_cannot_be_written(hopper, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    assert main([hopper, "--model", "sface", "--out", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--passes", "1"],
        ["--passes", "many"],
        ["--model", "resnet"],
        ["--reading", "loud"],
        ["--out", "nowhere/plq.png"],
        ["--what"],
        ["--device", "tpu"],
        ["--seed", "-1"],
        ["--seed", str(2**32)],  # torch draws the same masks as for 0
        ["--out", ""],
        ["--model", ""],
    ],
)
def test_bad_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="cuda is available here")
def test_missing_device(capsys):
    assert main(["--device", "cuda"]) == 1
    assert capsys.readouterr().err.count("'cuda' is not available here") == 2


def test_several_faces_are_said_for_each_image(tmp_path, capsys):
    samples = plqlite.sample_faces()
    group = np.concatenate([samples["group_1"], samples["group_3"]], axis=1)
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for name in names:
        Image.fromarray(group).save(name)
    assert main([*names, "--model", "sface", "--json"]) == 0
    errors = capsys.readouterr().err
    assert all(f"{name}: Found 2 faces" in errors for name in names)


@pytest.mark.slow
def test_an_onnx_file_without_calibration(hopper, few_people, run_script, tmp_path, capsys):
    path = tmp_path / "mine.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    assert main([hopper, "--model", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert list(result) == KEYS
    assert result["model"] == "mine"
    assert 0 < result["quality"] < 1
    assert result["scaled_quality"] is result["plq_mean"] is None
    assert err.startswith(f"{hopper}: mine is not calibrated: Q̂ is the raw Q")
    assert main([hopper, "--model", str(path), "--out", str(tmp_path / "plq.png")]) == 0
    assert "mine     quality Q = 0." in capsys.readouterr().out
    run_script("calibrate", few_people, "--model", path, "--out", tmp_path / "calibration.json")
    capsys.readouterr()
    assert main([hopper, "--model", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert 0 < json.loads(out)["scaled_quality"] < 1
    assert err == ""


def test_a_model_that_cannot_be_built(hopper, tmp_path, monkeypatch, capsys):
    def offline(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("insightface.utils.storage.download_file", offline)
    assert main([hopper, "--model", "arcface-r100", "--json"]) == 1
    assert "arcface-r100: The weights file glintr100.onnx is missing" in capsys.readouterr().err
    (tmp_path / "letter.onnx").write_text("I am a letter")
    assert main([hopper, "--model", str(tmp_path / "letter.onnx"), "--json"]) == 1
    assert "letter.onnx is not an ONNX file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main([hopper, "--model", "arcfase"])
    assert end.value.code == 2
    assert "choose from sface, facenet, facenet-vggface2, arcface, arcface-r100" in capsys.readouterr().err


SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, *_):
        if name == "plqlite.command_line":
            print("importing", flush=True)
            time.sleep(600)

sys.meta_path.insert(0, Slow())
from plqlite.__main__ import run
run()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
def test_ctrl_c_is_one_line_from_the_start():
    """While torch and matplotlib are imported, too."""
    assert press_ctrl_c(SLOW_IMPORT, when="importing") == (130, "interrupted\n")


def test_options_may_stand_between_photos(hopper, capsys):
    assert main([hopper, "--model", "sface", hopper, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_names_cannot_move_the_cursor(tmp_path, capsys):
    name = str(tmp_path / "a\x1b[2J\nb.jpg")
    assert main([name, "--model", "sface", "--json"]) == 1
    printed = capsys.readouterr().err
    assert r"a\x1b[2J\nb.jpg does not exist" in printed
    assert printed.count("\n") == 1
    line = {"image": name, "model": "sface", "quality": 0.9, "scaled_quality": None}
    assert "\x1b" not in describe(line)


def test_a_name_may_hold_a_dollar(tmp_path, hopper, capsys):
    path = tmp_path / "a$b$\\frac.onnx"
    path.write_bytes(find_weights(SFACE).read_bytes())
    assert main([hopper, "--model", str(path), "--out", str(tmp_path / "plq.png")]) == 0
    assert (tmp_path / "plq.png").exists()


def test_many_faces_fill_several_pages(monkeypatch, hopper, tmp_path, capsys):
    monkeypatch.setattr("plqlite.command_line.PAGE", 2)
    assert main([hopper] * 5 + ["--model", "sface", "--out", str(tmp_path / "plq.png")]) == 0
    pages = [tmp_path / f"plq{number}.png" for number in ("", "-2", "-3")]
    heights = [Image.open(page).height for page in pages]
    assert heights[0] == heights[1] > heights[2] > 200
    assert capsys.readouterr().out.count("wrote ") == 3
