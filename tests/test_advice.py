import pytest
import torch

import plqlite
from conftest import random_images
from plqlite.advice import LOW, MEANINGS, OTHERWISE, meanings_of
from plqlite.faces import REGIONS


@pytest.fixture
def advise(tiny_reference, monkeypatch):
    """Give advice on made-up numbers."""
    tiny = tiny_reference
    tiny.reference_statistics = tiny.reference_statistics._replace(
        quality_percentiles=torch.linspace(0, 1, 101)
    )
    original = plqlite.explain(tiny, random_images(1, size=112))

    def advise(z, quality=0.7):
        found = {name: torch.tensor([z.get(name, 0.0)]) for name in REGIONS}
        monkeypatch.setattr("plqlite.advice.region_z_scores", lambda saliency, model: found)
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
    assert LOW == -3.0


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
    assert "No region stands out: look at sharpness, light and pose." in text
    assert "Nothing unusual" in advise({}, quality=0.02).text  # one in fifty is not rare
    assert "look at" not in advise({"nose": -9.0}, quality=0.005).text


def test_meanings_take_their_regions():
    assert meanings_of([]) == []
    assert meanings_of(["nose"]) == [(["nose"], OTHERWISE)]
    both = meanings_of(["right cheek", "right eye", "left eye"])  # both eyes come first
    assert [regions for regions, _ in both] == [["right cheek"], ["right eye", "left eye"]]
    for name in ("left", "right"):
        (side,) = meanings_of([f"{name} cheek", f"{name} eye"])
        assert f"{name} of the picture" in side[1]
    for regions, _, text in MEANINGS:
        assert meanings_of(list(regions)) == [(list(regions), text)]
        assert set(regions) <= set(REGIONS)


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
