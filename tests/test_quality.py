import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

import plqlite
from conftest import random_images
from plqlite.quality import (
    DropoutHasNoEffect,
    closed_form_quality,
    fit_scaling,
    robustness,
    scale_quality,
    ser_fiq,
    ser_fiq_closed_form,
    stochastic_embeddings,
)


def test_equals_a_plain_evaluation_of_equation_1(tiny, images):
    passes, dropout = 25, 0.3
    masks = torch.Generator().manual_seed(5)
    keep = torch.rand(passes, tiny.head.in_features, generator=masks).numpy() >= dropout
    weight, bias = tiny.head.weight.numpy(), tiny.head.bias.numpy()
    for features, q in zip(
        tiny.features(images).numpy(), ser_fiq(tiny, images, passes, dropout, seed=5), strict=True
    ):
        embeddings = (features * keep / (1 - dropout)) @ weight.T + bias
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        exponent = -2 / passes**2 * pdist(embeddings).sum()
        assert q.item() == pytest.approx(2 / (1 + np.exp(-exponent)), abs=1e-6)


@pytest.mark.slow
def test_closed_form_is_the_limit_of_many_passes(model, faces):
    many = ser_fiq(model, faces, passes=2000)
    assert (many - ser_fiq_closed_form(model, faces, passes=float("inf"))).abs().max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("passes", [3, 100])
def test_closed_form_is_the_mean_of_many_draws_of_few_passes(model, faces, passes):
    """The limit is below: with 100 passes by 4 and 9 standard errors of this mean and more."""
    features = model.features(faces)  # once: `ser_fiq` would repeat the backbone for each draw
    draws = torch.stack(
        [
            robustness(stochastic_embeddings(model.head, features, passes, seed=seed))
            for seed in range(6000 // passes)
        ]
    )
    mean, error = draws.mean(0), draws.std(0) / len(draws) ** 0.5
    assert (mean - ser_fiq_closed_form(model, faces, passes=passes)).abs().max() < 1e-3
    assert (mean - ser_fiq_closed_form(model, faces, passes=float("inf")) > 4 * error).all()


def test_passes_of_the_closed_form_shorten_the_distance(tiny, images):
    """Of m² pairs m are a draw and itself: Eq. 1 divides by m², not m(m − 1)."""

    def distance(passes):
        return -torch.logit(ser_fiq_closed_form(tiny, images, passes=passes) / 2)

    for passes in (2, 10, 100):
        expected = (passes - 1) / passes * distance(float("inf"))
        torch.testing.assert_close(distance(passes), expected, rtol=1e-5, atol=0)
    assert ser_fiq_closed_form(tiny, images).equal(ser_fiq_closed_form(tiny, images, passes=100))


def test_closed_form_is_differentiable(tiny, images):
    features = tiny.features(images).requires_grad_()
    (gradient,) = torch.autograd.grad(closed_form_quality(tiny.head, features).sum(), features)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_does_not_depend_on_batch_or_order(model, faces):
    together = ser_fiq(model, faces, passes=20)
    apart = torch.cat([ser_fiq(model, face[None], passes=20) for face in faces.flip(0)]).flip(0)
    torch.testing.assert_close(together, apart, atol=2e-6, rtol=0)


def test_seed_chooses_the_masks(tiny, images):
    assert ser_fiq(tiny, images, seed=1).equal(ser_fiq(tiny, images, seed=1))
    assert not ser_fiq(tiny, images, seed=1).equal(ser_fiq(tiny, images, seed=2))


def test_does_not_touch_the_global_generator(tiny, images):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    ser_fiq(tiny, images)
    assert torch.rand(4).equal(expected)


def test_chunks_change_nothing_and_bound_memory():
    widest = 0

    class Head(torch.nn.Linear):
        def forward(self, features):
            nonlocal widest
            widest = max(widest, features.numel())
            return super().forward(features)

    head = Head(4096, 4)
    features = torch.rand(512, 4096)  # 4 passes at a time
    torch.testing.assert_close(
        stochastic_embeddings(head, features, 30)[:1], stochastic_embeddings(head, features[:1], 30)
    )
    assert widest <= 2**23


def test_robustness_does_not_build_all_pairs_at_once():
    embeddings = torch.nn.functional.normalize(torch.randn(1, 250, 8), dim=-1)
    expected = 2 / (1 + np.exp(2 / 250**2 * pdist(embeddings[0].numpy()).sum()))
    assert robustness(embeddings).item() == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_normalised(tiny, images):
    embeddings = stochastic_embeddings(tiny.head, tiny.features(images), passes=7)
    assert embeddings.shape == (3, 7, 6)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3, 7))


def test_fit_scaling_puts_95_percent_into_the_range():
    qualities = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.8
    alpha, r = fit_scaling(qualities)
    scaled = scale_quality(qualities, alpha, r)
    assert r == pytest.approx(qualities.mean().item())
    assert ((scaled >= 0.05) & (scaled <= 0.95)).float().mean().item() == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize("qualities", [[], [0.8], [0.8, 0.8, 0.8]])
def test_fit_scaling_refuses_what_has_no_spread(qualities):
    with pytest.raises(ValueError, match="fit on several different faces"):
        fit_scaling(torch.tensor(qualities))


@pytest.mark.parametrize("passes", [1, 0, -3])
def test_refuses_fewer_than_two_passes(tiny, images, passes):
    with pytest.raises(ValueError, match="at least 2 passes"):
        ser_fiq(tiny, images, passes=passes)


@pytest.mark.parametrize("dropout", [0, 1, -0.5, 1.5])
@pytest.mark.parametrize("estimate", [ser_fiq, ser_fiq_closed_form])
def test_refuses_a_dropout_that_is_none(tiny, images, dropout, estimate):
    with pytest.raises(ValueError, match="choose a share between 0 and 1"):
        estimate(tiny, images, dropout=dropout)


@pytest.mark.parametrize("passes", [100, None])
def test_refuses_embeddings_that_do_not_vary(tiny, passes):
    torch.nn.init.zeros_(tiny.head.weight)  # the bias alone: every pass gives the same embedding
    with pytest.raises(DropoutHasNoEffect, match="2 of 2 images"):
        plqlite.explain(tiny, random_images(2), passes=passes)


def test_closed_form_refuses_a_head_that_is_not_affine(tiny, images):
    tiny.head = torch.nn.Sequential(tiny.head, torch.nn.ReLU())
    with pytest.raises(TypeError, match=r"one torch.nn.Linear, found Sequential: use ser_fiq"):
        ser_fiq_closed_form(tiny, images)


def test_each_seed_draws_its_own_masks(tiny, images):
    features = tiny.features(images)
    drawn = [
        stochastic_embeddings(tiny.head, features, passes=3, seed=seed) for seed in (0, 1, 2**31, 2**32 - 1)
    ]
    assert not any(one.equal(other) for n, one in enumerate(drawn) for other in drawn[:n])
    for seed in (2**32, -1):
        with pytest.raises(ValueError, match=rf"seed={seed}: choose one from 0 to 2\*\*32 - 1"):
            stochastic_embeddings(tiny.head, features, passes=3, seed=seed)


def test_a_dropout_that_leaves_next_to_nothing_is_refused():
    """Of 100 features 4 must remain on average: 0.96 is the limit."""
    head, features = torch.nn.Linear(100, 4), torch.rand(2, 100)
    for use in (closed_form_quality, lambda *each: stochastic_embeddings(*each[:2], 9, each[2])):
        use(head, features, 0.95)
        with pytest.raises(ValueError, match=r"dropout=0\.97 leaves 3 of 100 features on average"):
            use(head, features, 0.97)


@pytest.mark.parametrize("spread", [0.0, 1e-7, 5e-6])
def test_qualities_that_differ_by_rounding_fit_nothing(spread):
    with pytest.raises(ValueError, match="95 % of 40 qualities are the same: fit on several different faces"):
        fit_scaling(0.9 + spread * torch.linspace(-1, 1, 40))
    assert fit_scaling(0.9 + 1e-4 * torch.linspace(-1, 1, 40))[0] > 20000
    with pytest.raises(ValueError, match="NaN among them"):
        fit_scaling(torch.tensor([0.8, float("nan"), 0.9]))
