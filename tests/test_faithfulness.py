"""Measures of faithfulness, on cases with a known answer."""

import numpy as np
import pytest
import torch

import plqlite
from conftest import random_images, tiny_model
from plqlite.experiments.faithfulness import (
    SHARES,
    Effects,
    agreement,
    blurred,
    deletion,
    embedding_and_quality,
    fills,
    imputed,
    intervene,
    max_sensitivity,
    randomised,
    ranked,
    relevance_gain,
    similarity,
)
from plqlite.experiments.rivals import at_random, centre, gradient

IMAGE = random_images(1, size=32)[0]
WEIGHT = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(3))
BLACK = fills(torch.zeros(3, 32, 32))["average face"]


def linear(images):
    """Known attribution: each pixel adds weight times value."""
    return (images * WEIGHT.to(images)).sum((1, 2, 3))


TRUTH = (IMAGE * WEIGHT).sum(0)


# --- interventions ---


def test_the_truth_agrees_and_its_reverse_does_not():
    places = torch.cartesian_prod(torch.arange(0, 28, 4), torch.arange(0, 28, 4))
    falls = np.array([TRUTH[top : top + 4, left : left + 4].sum().item() for top, left in places.tolist()])
    effects = Effects(places, 4, -falls, falls)
    found = agreement(TRUTH, effects)
    assert (found["fall"], found["shift"]) == pytest.approx((1, -1))
    assert agreement(-TRUTH, effects)["fall"] == pytest.approx(-1)
    assert agreement(torch.ones(32, 32), effects) == {"shift": 0.0, "fall": 0.0}
    noise = [agreement(torch.rand(32, 32), effects)["fall"] for _ in range(40)]
    assert abs(np.mean(noise)) < 0.1


def test_effects_are_those_of_replacing_one_patch():
    model, image = tiny_model(size=112), random_images(1, size=112)[0]
    filled = torch.full_like(image, 90.0)
    effects = intervene(model, image, filled, row=3)
    assert effects.places.tolist() == [[top, left] for top in (0, 48, 96) for left in (0, 48, 96)]
    changed = image.clone()
    changed[:, 48:64, 96:112] = 90.0
    (before, after), (quality, lower) = embedding_and_quality(model, torch.stack([image, changed]))
    assert effects.shift[5] == pytest.approx((after - before).norm().item(), abs=1e-6)
    assert effects.fall[5] == pytest.approx((quality - lower).item(), abs=1e-6)
    assert quality.item() == pytest.approx(plqlite.explain(model, image[None]).quality.item(), abs=1e-6)


# --- deletion ---


def test_relevance_gain_is_highest_for_the_truth():
    gains = {
        name: relevance_gain(linear, IMAGE, values, BLACK)
        for name, values in {
            "truth": TRUTH,
            "reverse": -TRUTH,
            "half": TRUTH + TRUTH.std() * 2 * WEIGHT[0],
        }.items()
    }
    assert gains["truth"] == pytest.approx(-gains["reverse"])
    assert gains["truth"] > 1.2 * gains["half"] > 0
    chance = [relevance_gain(linear, IMAGE, torch.ones(32, 32), BLACK, seed) for seed in range(30)]
    assert abs(np.mean(chance)) < 0.1 * gains["truth"]
    best = [relevance_gain(linear, IMAGE, torch.rand(32, 32), BLACK) for _ in range(20)]
    assert max(best) < gains["truth"]


def test_deletion_of_a_linear_measure_by_hand():
    order = ranked(TRUTH)
    curve = deletion(linear, IMAGE, order, BLACK)
    sorted_values = TRUTH.flatten()[order].double()
    for share, value in zip(SHARES, curve, strict=True):
        left = sorted_values[round(share * 1024) :].sum().item()
        assert value == pytest.approx(left, rel=1e-3, abs=1)
    insertion = deletion(
        linear, torch.zeros(3, 32, 32), order, lambda image, mask: torch.where(mask, IMAGE, image)
    )
    assert insertion[-1] == pytest.approx(sorted_values[: round(0.95 * 1024)].sum().item(), rel=1e-3)


def test_insertion_is_deletion_by_a_blur_read_backwards():
    """So it says nothing new, and is not measured again."""
    order, shares = ranked(TRUTH), np.linspace(0, 1, 9)
    deleted = deletion(linear, IMAGE, order[::-1], fills(IMAGE)["blur"], shares)
    inserted = deletion(
        linear, blurred(IMAGE), order, lambda start, mask: torch.where(mask, IMAGE, start), shares
    )
    np.testing.assert_allclose(inserted[::-1], deleted, rtol=1e-4, atol=1)


def test_ties_are_broken_by_the_seed():
    values = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    orders = [ranked(values, seed).tolist() for seed in range(20)]
    assert all(set(order[:2]) == {1, 2} for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert ranked(values, 5).tolist() == ranked(values, 5).tolist()


# --- fills ---


def test_imputation_solves_its_equations():
    """By a dense solver of numpy, pixel by pixel."""
    rng = np.random.default_rng(0)
    image, mask = random_images(1, size=7)[0], torch.from_numpy(rng.random((7, 7)) < 0.5)
    found = imputed(image, mask, noise=0)
    assert found[:, ~mask].equal(image[:, ~mask])
    system, right = np.eye(49), image[0].flatten().double().numpy()
    for place in np.flatnonzero(mask.flatten().numpy()):
        row, column, total, system[place] = *divmod(place, 7), 0.0, 0
        for down, across in [(d, a) for d in (-1, 0, 1) for a in (-1, 0, 1) if d or a]:
            if 0 <= row + down < 7 and 0 <= column + across < 7:
                weight = 1 / 12 if down and across else 1 / 6
                system[place, (row + down) * 7 + column + across] = -weight
                total += weight
        system[place, place], right[place] = total, 0.0
    np.testing.assert_allclose(found[0].flatten().numpy(), np.linalg.solve(system, right), atol=1e-2)


def test_fills_keep_the_rest_and_differ():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:20, 8:20] = True
    filled = {name: fill(IMAGE, mask) for name, fill in fills(torch.full((3, 32, 32), 99.0)).items()}
    for name, image in filled.items():
        assert image[:, ~mask].equal(IMAGE[:, ~mask]), name
        assert image.min() >= 0, name
        assert image.max() <= 255, name
    assert (filled["average face"][:, mask] == 99).all()
    torch.testing.assert_close(filled["mean colour"][:, 10, 10], IMAGE.mean((1, 2)))
    assert filled["blur"][:, mask].equal(blurred(IMAGE)[:, mask])
    assert imputed(IMAGE, mask, seed=0).equal(imputed(IMAGE, mask, seed=0))
    assert not imputed(IMAGE, mask, seed=0).equal(imputed(IMAGE, mask, seed=1))
    assert imputed(IMAGE, mask & ~mask) is IMAGE


# --- sanity ---


def test_randomising_goes_from_the_head_down_and_leaves_the_model(sface):
    before = {name: value.clone() for name, value in sface.state_dict().items()}
    changed = {}
    for stage, model in randomised(sface):
        changed[stage] = {
            name for name, value in model.state_dict().items() if not value.equal(before[name].to(value))
        }
    assert all(value.equal(before[name]) for name, value in sface.state_dict().items())
    assert changed["head"] == {"head.weight"}
    sizes = [len(names) for names in changed.values()]
    assert sizes == sorted(set(sizes))
    assert changed["head"] < changed["25 %"] < changed["50 %"] < changed["75 %"] < changed["100 %"]
    assert {next(name for name, value in before.items() if value.ndim == 4)} <= changed["100 %"] - changed[
        "75 %"
    ]


def test_similarity_knows_order_alone():
    values = torch.rand(20, 20)
    assert similarity(values, values**3) == pytest.approx((1, 1))
    rho, alike = similarity(values, -values)
    assert rho == pytest.approx(-1)
    assert alike < 0
    assert abs(similarity(values, torch.rand(20, 20))[0]) < 0.2


def test_sensitivity_of_a_map_that_is_linear_in_the_image():
    """A map that returns the image moves as far as the image does."""
    model, image = tiny_model(), random_images(1)[0].clamp(10, 240)

    def seen(model, images):
        return images.mean(1)

    one, two = (max_sensitivity(seen, model, image, radius) for radius in (1.0, 2.0))
    assert two == pytest.approx(2 * one, rel=1e-4)
    assert 0 < one < 1 / image.mean()
    assert max_sensitivity(centre, model, image) == 0
    assert max_sensitivity(at_random(), model, image) > 0.5  # other noise for another image
    assert max_sensitivity(gradient, model, image) > 0


def test_a_patch_is_scaled_with_the_image():
    image = random_images(1, size=56)[0]
    effects = intervene(tiny_model(size=56), image, image * 0, row=3)
    assert effects.side == 8
    assert effects.places[:3].tolist() == [[0, 0], [0, 24], [0, 48]]


def test_random_weights_have_a_seed_and_the_spread_of_their_layer():
    model = tiny_model()
    ends = [list(randomised(model, seed))[-1][1] for seed in (0, 0, 1)]
    first, again, other = (each.backbone[0].weight for each in ends)
    assert first.equal(again)
    assert not first.equal(other)
    (_, changed), *_ = randomised(model)
    before, after = model.head.weight, changed.head.weight  # 6 x 196
    assert after.std().item() == pytest.approx(before.std().item(), rel=0.1)


def test_the_noise_of_sensitivity_has_a_seed():
    model, image = tiny_model(), random_images(1)[0]
    one, again, other = (max_sensitivity(gradient, model, image, seed=seed) for seed in (0, 0, 1))
    assert one == again != other
