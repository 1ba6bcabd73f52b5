import pytest
import torch

import plqlite
from conftest import random_images
from plqlite.advice import MEANINGS, OTHERWISE, meanings_of
from plqlite.calibration import ALARMS


@pytest.fixture
def advise(tiny_reference, monkeypatch):
    """Give advice on made-up numbers."""
    tiny = tiny_reference
    tiny.reference_statistics = tiny.reference_statistics._replace(
        quality_percentiles=torch.linspace(0, 1, 101)
    )
    original = plqlite.explain(tiny, random_images(1, size=112))

    def advise(z, quality=0.7):
        found = {name: torch.tensor([z.get(name, 0.0)]) for name in ALARMS}
        for module in ("advice", "regions"):
            monkeypatch.setattr(f"plqlite.{module}.region_z_scores", lambda deviation, model: found)
        explanation = plqlite.Explanation(**(vars(original) | {"quality": torch.tensor([quality])}))
        return plqlite.advise(tiny, explanation)

    return advise


def test_advice_says_when_nothing_stands_out(advise):
    advice = advise({"chin": -2.9, "nose": 5.0}, quality=0.42)
    assert advice.text == (
        "Nothing unusual: the lowest region is the chin (-2.9 σ).\n"
        "Q = 0.420, higher than 42 % of the development photos."
    )
    assert advice.low == []
    assert advice.percentile == pytest.approx(42)
    assert advice.quality == pytest.approx(0.42)
    assert advice.z["nose"] == 5


def test_advice_names_the_lowest_first_and_what_it_may_mean(advise):
    advice = advise({"chin": -3.5, "mouth": -4.0, "forehead": -6.0, "nose": -3.1})
    assert advice.low == ["forehead", "mouth", "chin", "nose"]
    forehead, lower, quality = advice.text.splitlines()
    assert forehead == "Unusually low: forehead (-6.0 σ). May be headgear, hair, or a reflection."
    assert lower.startswith(
        "Unusually low: mouth (-4.0 σ), chin (-3.5 σ), nose (-3.1 σ). May be something in"
    )
    assert "mask" in lower
    assert quality.startswith("Q = 0.700, higher than 70 %")


def test_a_low_quality_alone_is_said(advise):
    text = advise({}, quality=0.005).text
    assert "Nothing unusual" not in text
    assert text.startswith(
        "Unusually low as a whole: look at focus, light and pose.\nQ = 0.005, higher than 0 %"
    )
    assert "Nothing unusual" in advise({}, quality=0.02).text  # one in fifty is not rare
    whole, part, _ = advise(
        {"nose": -9.0}, quality=0.005
    ).text.splitlines()  # first the level, then the place
    assert whole.startswith("Unusually low as a whole")
    assert part.startswith("Unusually low: nose (-9.0 σ)")


def test_the_ends_of_the_development_set_are_said(advise):
    assert "Q = -0.100, lower than every development photo." in advise({}, quality=-0.1).text
    assert "Q = 1.100, higher than every development photo." in advise({}, quality=1.1).text


def test_each_part_has_its_own_alarm(advise, tiny_reference):
    alarms = ALARMS | {"chin": -1.0, "both eyes": -2.0}
    tiny_reference.reference_statistics = tiny_reference.reference_statistics._replace(alarms=alarms)
    assert advise({"chin": -1.5, "nose": -2.9}).low == ["chin"]
    assert advise({"chin": -1.5, "nose": -4.0}).low == ["chin", "nose"]  # 1.5 times its alarm comes first
    eyes = advise({"left eye": -3.5, "right eye": -1.5, "both eyes": -2.5})
    assert eyes.low == ["both eyes"]  # which says what the left one says
    assert "Unusually low: both eyes (-2.5 σ). May be glasses" in eyes.text
    assert advise({"left eye": -3.5, "both eyes": -1.7}).low == ["left eye"]


def test_an_explanation_from_before_the_reference_statistics_is_refused(tiny_reference):
    statistics, tiny_reference.reference_statistics = tiny_reference.reference_statistics, None
    explanation = plqlite.explain(tiny_reference, random_images(1, size=112))
    tiny_reference.reference_statistics = statistics
    with pytest.raises(ValueError, match="explain again"):
        plqlite.advise(tiny_reference, explanation)


def test_meanings_take_their_regions():
    assert meanings_of([]) == []
    assert meanings_of(["nose"]) == [(["nose"], OTHERWISE)]
    two = meanings_of(["right cheek", "chin", "right eye", "mouth"])
    assert [regions for regions, _ in two] == [["right cheek", "chin", "mouth"], ["right eye"]]
    for name in ("left", "right"):
        (side,) = meanings_of([f"{name} cheek", f"{name} eye"])
        assert f"{name} of the picture" in side[1]
    for regions, _, text in MEANINGS:
        assert meanings_of(list(regions)) == [(list(regions), text)]
        assert set(regions) <= set(ALARMS)


def test_advice_takes_one_image(tiny_reference):
    explanation = plqlite.explain(tiny_reference, random_images(2, size=112))
    with pytest.raises(ValueError, match="2 images: explain and give advice on one at a time"):
        plqlite.advise(tiny_reference, explanation)


def test_advice_runs_no_network(tiny_reference):
    """The explanation has all that it needs; each part of the network counts its calls."""
    explanation, calls = plqlite.explain(tiny_reference, random_images(1, size=112)), []
    for part in (tiny_reference, tiny_reference.backbone, tiny_reference.head):
        part.register_forward_hook(lambda *_: calls.append("forward"))
    advice = plqlite.advise(tiny_reference, explanation)
    assert calls == []
    assert advice.quality == explanation.quality.item()
    plqlite.explain(tiny_reference, random_images(1, size=112))
    assert calls  # they do count
