import io
import warnings
from datetime import datetime

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import plqlite
from conftest import random_images, tiny_model
from plqlite import figures
from plqlite.faces import REGIONS
from plqlite.figures import (
    RED_YELLOW_GREEN,
    draw_gauge,
    draw_map,
    draw_outlines,
    overlay,
    save_figure,
)
from plqlite.regions import face_regions

PHOTO = plqlite.sample_faces()["astronaut"]


def pixels(figure):
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return np.array(Image.open(content).convert("RGB"))


def panels(figure):
    """Return the axes of a figure but for the colour bar."""
    return [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]


def test_a_row_holds_face_gauge_pattern_and_overlay(tiny_reference):
    images = random_images(3, size=112)
    explanation = plqlite.explain(tiny_reference, images)
    figure = plqlite.show(images, explanation, ["a", "b", "c"])
    drawn = panels(figure)
    assert len(drawn) == 12
    for row in range(3):
        face, gauge, where, both = drawn[4 * row : 4 * row + 4]
        assert face.get_title() == "abc"[row]
        np.testing.assert_allclose(face.images[0].get_array(), images[row].permute(1, 2, 0) / 255)
        quality, scaled = explanation.quality[row], explanation.scaled_quality[row]
        assert gauge.get_title() == f"Q = {quality:.3f}, Q̂ = {scaled:.2f}"
        assert gauge.get_xlim() == (0, 1)
        np.testing.assert_allclose(gauge.lines[0].get_xdata(), [scaled, scaled])
        np.testing.assert_array_equal(where.images[0].get_array(), explanation.pattern[row])
        assert where.images[0].get_clim() == (0, 1)
        tinted = overlay(images[row].permute(1, 2, 0).numpy() / 255, explanation.pattern[row].numpy())
        np.testing.assert_allclose(both.images[0].get_array(), tinted)
    assert figure.axes[-1].get_ylabel() == "pattern: P at Q̂ = ½"


def test_the_gauge_shows_the_development_set(tiny_reference):
    axis, reference = Figure().subplots(), tiny_reference.reference_statistics
    tiny_reference.reference_statistics = reference._replace(
        quality_percentiles=torch.linspace(0.5, 0.9, 101)
    )
    draw_gauge(axis, plqlite.explain(tiny_reference, random_images(1, size=112)))
    heights = np.array([bar.get_height() for bar in axis.patches])
    percentiles = tiny_reference.reference_statistics.quality_percentiles
    scaled = plqlite.scale_quality(percentiles, tiny_reference.scaling.alpha, tiny_reference.scaling.r)
    counts = np.histogram(scaled, bins=20, range=(0, 1))[0]
    np.testing.assert_allclose(heights, counts / counts.max())
    assert 0 < heights.min() < heights.max() == 1
    np.testing.assert_allclose([bar.get_x() for bar in axis.patches], np.arange(20) / 20, atol=1e-9)


def test_without_reference_statistics_there_is_a_gauge_but_no_development_set(tiny, images):
    axis = Figure().subplots()
    draw_gauge(axis, plqlite.explain(tiny, images)[0])
    assert not axis.patches
    assert len(axis.lines) == 1
    assert draw_outlines(axis, plqlite.explain(tiny, images)[0]) == []


def test_what_is_low_is_outlined_and_named(tiny_reference):
    images = random_images(2, size=112)
    explanation = plqlite.explain(tiny_reference, images)
    explanation.deviation[:] = 0
    explanation.deviation[1, face_regions(tiny_reference)[list(REGIONS).index("chin")]] = -6
    drawn = panels(plqlite.show(images, explanation))
    nothing, chin = drawn[3], drawn[7]
    assert (nothing.get_title(), chin.get_title()) == ("", "low: chin")
    assert not nothing.collections
    outline = np.concatenate([path.vertices for path in chin.collections[0].get_paths()])
    assert outline[:, 1].min() == pytest.approx(99.5, abs=1)  # where the chin begins


def test_outlines_go_beyond_a_region_but_not_around_what_is_not_named(tiny_reference):
    statistics = tiny_reference.reference_statistics
    alarms = statistics.alarms | {"forehead": -5.0}
    tiny_reference.reference_statistics = statistics._replace(alarms=alarms)
    explanation = plqlite.explain(tiny_reference, random_images(1, size=112))
    explanation.deviation[:] = 0
    explanation.deviation[0, 8:36, 28:84] = -6  # the forehead
    explanation.deviation[0, 100:, 4:84] = -4  # the chin, and what is left of it; above the forehead's alarm
    explanation.deviation[0, 70:74, 90:94] = -9  # a spot on a cheek that is not low as a whole
    axis = Figure().subplots()
    assert draw_outlines(axis, explanation) == ["chin", "forehead"]
    outline = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
    assert (outline.min(0), outline.max(0)) == (pytest.approx([3.5, 7.5]), pytest.approx([83.5, 111]))
    assert not ((outline[:, 1] > 40) & (outline[:, 1] < 90)).any()


def test_the_paper_s_style_holds_face_map_and_overlay(tiny, images):
    explanation = plqlite.explain(tiny, images)
    drawn = panels(plqlite.show(images, explanation, style="paper"))
    assert len(drawn) == 9
    assert drawn[1].get_title().startswith("Q = ")
    np.testing.assert_array_equal(drawn[1].images[0].get_array(), explanation.plq[0])
    tinted = overlay(images[0].permute(1, 2, 0).numpy() / 255, explanation.plq[0].numpy())
    np.testing.assert_allclose(drawn[2].images[0].get_array(), tinted)
    with pytest.raises(ValueError, match="no style 'papr': choose split or paper"):
        plqlite.show(images, explanation, style="papr")


@pytest.mark.parametrize("style", ["split", "paper"])
def test_colours_can_be_changed(tiny, images, style):
    explanation = plqlite.explain(tiny, images)
    drawn = panels(plqlite.show(images, explanation, style=style, colours=RED_YELLOW_GREEN))
    *_, where, both = drawn[: len(drawn) // 3]
    assert where.images[0].get_cmap().name == RED_YELLOW_GREEN
    values = (explanation.pattern if style == "split" else explanation.plq)[0].numpy()
    tinted = overlay(images[0].permute(1, 2, 0).numpy() / 255, values, RED_YELLOW_GREEN)
    np.testing.assert_allclose(both.images[0].get_array(), tinted)
    assert (tinted != overlay(images[0].permute(1, 2, 0).numpy() / 255, values)).any()


def test_low_is_dark_and_high_is_bright():
    """To every eye: what is low differs from what is high in lightness, not only in hue."""
    axis = Figure().subplots()
    low, high = draw_map(axis, np.array([[0.0, 1.0]])).to_rgba([0.0, 1.0])[:, :3]
    assert high.mean() > 2 * low.mean()
    red, green = draw_map(axis, np.array([[0.0, 1.0]]), RED_YELLOW_GREEN).to_rgba([0.0, 1.0])[:, :3]
    assert red[0] > 2 * red[1]
    assert green[1] > 2 * green[0]


def test_the_overlay_is_seen_over_dark_hair_and_over_bright_skin():
    for grey in (0.0, 1.0):
        low, high = overlay(np.full((1, 2, 3), grey), np.array([[0.0, 1.0]]))[0]
        assert high.mean() - low.mean() > 0.15
        np.testing.assert_allclose(
            2 * low - grey, draw_map(Figure().subplots(), np.zeros((1, 1))).to_rgba(0)[:3]
        )


def test_the_overlay_keeps_no_colour_of_the_face():
    red = np.array([[[0.9, 0.0, 0.3]]])
    colour = draw_map(Figure().subplots(), np.ones((1, 1))).to_rgba(1)[:3]
    np.testing.assert_allclose(2 * overlay(red, np.ones((1, 1)))[0, 0] - colour, [0.4, 0.4, 0.4])


def test_save_figure_leaves_no_half_written_file(tiny, images, tmp_path, monkeypatch):
    figure = plqlite.show(images, plqlite.explain(tiny, images))
    save_figure(figure, tmp_path / "plq.png")
    assert [path.name for path in tmp_path.iterdir()] == ["plq.png"]
    with pytest.raises(OSError, match="nowhere"):
        save_figure(figure, tmp_path / "nowhere" / "plq.png")
    before = (tmp_path / "plq.png").read_bytes()

    def interrupted(file, **_):
        (file if hasattr(file, "write") else open(file, "wb")).write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", interrupted)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "plq.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


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
    controls = {control.description: control for row in box.children[:4] for control in row.children}
    return controls, box.children[4], box.children[5], runs, box


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("γ", 9.5),
        ("passes", None),
        ("passes", 10),
        ("seed", 7),
        ("reading", "summed"),
        ("style", "paper"),
        ("model", "other"),
    ],
)
def test_each_control_redraws(panel, control, value):
    controls, _, picture, _, _ = panel
    controls["passes"].value = 100  # the closed form draws nothing: it has no seed
    controls["γ"].value = 9.0  # that of the other model: switching to it moves no other control
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    controls[control].value = value
    assert bytes(picture.value) != before


@pytest.mark.parametrize("style", ["split", "paper"])
def test_gamma_recolours_without_running_the_network(panel, style):
    controls, _, picture, runs, _ = panel
    controls["style"].value = style
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
    controls = {control.description: control for row in box.children[:4] for control in row.children}
    facts = {
        "name": "a.jpg",
        "type": "image/jpeg",
        "size": len(content),
        "last_modified": datetime(2026, 1, 1),
    }
    controls["your photo"].value = (facts | {"content": memoryview(content)},)
    return box.children[4].value, bytes(box.children[5].value)  # message, picture


def test_an_upload_that_fails_says_why_and_shows_nobody_else(panel):
    message, picture = upload(panel[4], b"x")
    assert "no face" in message
    assert picture == b""


def test_several_faces_are_said(panel, monkeypatch):
    def load(source, model):
        warnings.warn("Found 2 faces <&>", stacklevel=1)
        return random_images(1)

    monkeypatch.setattr(figures, "load_face", load)
    message, _ = upload(panel[4], b"x")
    assert message == "Found 2 faces &lt;&amp;&gt;"


def test_an_upload_is_explained(model):
    box = plqlite.explore(model, PHOTO)
    before = bytes(box.children[5].value)
    content = io.BytesIO()
    Image.fromarray(plqlite.sample_faces()["grace_hopper"]).save(content, "jpeg")
    message, picture = upload(box, content.getvalue())
    assert message == ""
    assert picture != before


def test_a_gamma_of_any_model_can_be_drawn(monkeypatch):
    """And the slider shows it: it would otherwise redraw with the nearest that it has."""
    steep, flat = tiny_model(), tiny_model()
    steep.scaling, flat.scaling = plqlite.Scaling(20.0, 0.7, 25.0), plqlite.Scaling(20.0, 0.7, 2.5)
    monkeypatch.setattr(figures, "load_face", lambda source, model: random_images(1))
    box = plqlite.explore([steep, flat], PHOTO)
    controls = {control.description: control for row in box.children[:4] for control in row.children}
    assert controls["model"].options == ("tiny", "tiny (2)")
    assert controls["γ"].value == 25.0
    controls["model"].value = "tiny (2)"
    assert controls["γ"].value == 2.5


def test_no_model_is_not_explored():
    with pytest.raises(ValueError, match="one model or more"):
        plqlite.explore([], PHOTO)


def test_titles_are_no_formulas(tiny, images):
    figure = plqlite.show(images[:1], plqlite.explain(tiny, images[:1]), [r"a$b$\frac"])
    figure.savefig(io.BytesIO())


# --- words for pictures, strips, deviations ---


def words(figure):
    _, metadata = figure._repr_mimebundle_(include=None, exclude=None)
    assert metadata["image/png"] == metadata["image/jpeg"]
    return metadata["image/png"]["alt"]


def test_a_figure_says_what_it_shows(tiny_reference):
    images = random_images(2, size=112)
    explanation = plqlite.explain(tiny_reference, images)
    explanation.deviation[1] = -20  # low all over
    said = words(plqlite.show(images, explanation, ["Ada", "Bob"]))
    assert said.startswith(f"Ada: Q = {explanation.quality[0]:.3f}")
    first, second = said.split(" Bob: ")
    assert "unusually low" not in first
    assert "unusually low and outlined: " in second
    assert "map P" in words(plqlite.show(images, explanation, style="paper"))


def test_words_replace_earlier_words():
    figure = Figure()
    figures.describe(figure, "An empty figure.")
    figures.describe(figure, "Still an empty figure.")
    assert words(figure) == "Still an empty figure."


def test_a_strip_holds_images_and_maps():
    image, values = random_images(1, size=16)[0], torch.rand(16, 16)
    figure = figures.strip({"face": image, "map": values}, "A face and its map.")
    first, second = panels(figure)
    assert [first.get_title(), second.get_title()] == ["face", "map"]
    np.testing.assert_allclose(first.images[0].get_array(), image.permute(1, 2, 0) / 255)
    np.testing.assert_allclose(second.images[0].get_array(), values)
    assert second.images[0].get_clim() == (0, 1)
    assert len(figure.axes) == 3  # and a colour bar
    assert words(figure) == "A face and its map."
    assert len(figures.strip({"face": image}, "A face.").axes) == 1


def test_a_deviation_is_red_where_low_and_outlined():
    axis, values = Figure().subplots(), np.zeros((20, 20))
    values[:5, :5], values[15:, 15:] = -3, 3
    drawn = figures.draw_deviation(axis, values)
    low, as_it_should_be, high = (drawn.cmap(drawn.norm(value))[:3] for value in (-3, 0, 3))
    assert low[0] > low[2] + 0.3  # red
    assert high[2] > high[0] + 0.3  # blue
    assert min(as_it_should_be) > 0.9  # white
    (line,) = axis.collections[0].get_paths()
    assert line.vertices.max() < 6  # around what is low alone
    axis = Figure().subplots()
    figures.draw_deviation(axis, values + 3)
    assert not axis.collections


def test_a_map_that_is_drawn_smaller_is_averaged():
    """Every other pixel is high: dropping pixels would give all or nothing."""
    checkers = np.indices((320, 320)).sum(0) % 2
    figure = Figure(figsize=(1, 1), dpi=80)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    draw_map(axis, checkers, "gray")
    middle = pixels(figure)[10:-10, 10:-10]
    assert 100 < middle.min()
    assert middle.max() < 156
