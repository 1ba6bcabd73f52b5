import io
import warnings
from datetime import datetime

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import plqlite
from conftest import random_images, tiny_model
from plqlite import figures
from plqlite.figures import COLOUR_BLIND_SAFE, draw_map, overlay, save_figure

PHOTO = plqlite.sample_faces()["astronaut"]


def pixels(figure):
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return np.array(Image.open(content).convert("RGB"))


def test_figure_holds_face_map_and_overlay_on_the_fixed_scale(tiny, images):
    explanation = plqlite.explain(tiny, images)
    figure = plqlite.show(images, explanation, ["a", "b", "c"])
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 9
    for row in range(3):
        face, plq, _ = (axis.images[0] for axis in drawn[3 * row : 3 * row + 3])
        np.testing.assert_allclose(face.get_array(), images[row].permute(1, 2, 0) / 255)
        np.testing.assert_array_equal(plq.get_array(), explanation.plq[row])
        assert plq.get_clim() == (0, 1)
    assert (
        drawn[1].get_title()
        == f"a: Q = {explanation.quality[0]:.3f}, Q̂ = {explanation.scaled_quality[0]:.2f}"
    )


def test_colours_can_be_changed(tiny, images):
    explanation = plqlite.explain(tiny, images)
    colourful, safe = (
        pixels(plqlite.show(images, explanation, colours=c)) for c in ("RdYlGn", COLOUR_BLIND_SAFE)
    )
    assert (colourful != safe).any()


def test_low_is_red_and_high_is_green():
    axis = Figure().subplots()
    low, high = draw_map(axis, np.array([[0.0, 1.0]])).to_rgba([0.0, 1.0])[:, :3]
    assert low[0] > 2 * low[1]
    assert high[1] > 2 * high[0]
    shaded = overlay(np.ones((1, 2, 3)), np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(shaded, np.stack([low, high])[None])


def test_save_figure_leaves_no_half_written_file(tiny, images, tmp_path):
    figure = plqlite.show(images, plqlite.explain(tiny, images))
    save_figure(figure, tmp_path / "plq.png")
    assert [path.name for path in tmp_path.iterdir()] == ["plq.png"]
    with pytest.raises(OSError, match="nowhere"):
        save_figure(figure, tmp_path / "nowhere" / "plq.png")


@pytest.fixture
def panel(monkeypatch):
    """The panel over two tiny models; counts how often the network runs."""
    one, two = tiny_model(0), tiny_model(1)
    two.name, two.scaling = "other", plqlite.Scaling(20.0, 0.7, 9.0)
    runs = []

    def counted(*arguments):
        runs.append(arguments[0].name)
        return plqlite.explain(*arguments)

    def load(source, model):
        if isinstance(source, bytes):
            raise plqlite.NoFaceFound("no face")
        return random_images(1)

    monkeypatch.setattr(figures, "explain", counted)
    monkeypatch.setattr(figures, "load_face", load)
    box = plqlite.explore([one, two], PHOTO)
    controls = {control.description: control for row in box.children[:3] for control in row.children}
    return controls, box.children[3], box.children[4], runs, box


@pytest.mark.parametrize(
    ("control", "value"),
    [("γ", 9.5), ("passes", None), ("passes", 10), ("seed", 7), ("reading", "summed"), ("model", "other")],
)
def test_each_control_redraws(panel, control, value):
    controls, _, picture, _, _ = panel
    controls["passes"].value = 100  # the closed form draws nothing: it has no seed
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    controls[control].value = value
    assert bytes(picture.value) != before


def test_gamma_recolours_without_running_the_network(panel):
    controls, _, picture, runs, _ = panel
    seen = {bytes(picture.value)}
    for gamma in (9.0, 10.0, 11.0):
        controls["γ"].value = gamma
        seen.add(bytes(picture.value))
    assert len(seen) == 4
    assert runs == ["tiny"]


def test_another_model_brings_its_own_gamma(panel):
    controls, _, _, runs, _ = panel
    controls["model"].value = "other"
    assert controls["γ"].value == 9.0
    assert runs == ["tiny", "other"]


def upload(box, content):
    controls = {control.description: control for row in box.children[:3] for control in row.children}
    facts = {
        "name": "a.jpg",
        "type": "image/jpeg",
        "size": len(content),
        "last_modified": datetime(2026, 1, 1),
    }
    controls["your photo"].value = (facts | {"content": memoryview(content)},)
    return box.children[3].value, bytes(box.children[4].value)  # message, picture


def test_an_upload_that_fails_says_why_and_keeps_the_picture(panel):
    before = bytes(panel[2].value)
    message, picture = upload(panel[4], b"x")
    assert "no face" in message
    assert picture == before


def test_several_faces_are_said(panel, monkeypatch):
    def load(source, model):
        warnings.warn("Found 2 faces <&>", stacklevel=1)
        return random_images(1)

    monkeypatch.setattr(figures, "load_face", load)
    message, _ = upload(panel[4], b"x")
    assert message == "Found 2 faces &lt;&amp;&gt;"


def test_an_upload_is_explained(model):
    box = plqlite.explore(model, PHOTO)
    before = bytes(box.children[4].value)
    content = io.BytesIO()
    Image.fromarray(plqlite.sample_faces()["grace_hopper"]).save(content, "jpeg")
    message, picture = upload(box, content.getvalue())
    assert message == ""
    assert picture != before
