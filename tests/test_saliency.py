import pytest
import torch

import plqlite
from conftest import random_images, tiny_model
from plqlite.regression import QualityRegression, node_weights
from plqlite.saliency import (
    centre_and_background,
    clip_by_norm,
    clip_by_value,
    fit_gamma,
    mean_over_channels,
    pixel_gradient,
    pixel_level_quality,
)


def test_gradient_equals_finite_differences():
    model, images, step = tiny_model().double(), random_images(1).double(), 1e-3
    quality = torch.tensor([0.6], dtype=torch.float64)
    m_q = QualityRegression(model, node_weights(model(images), quality))
    images.requires_grad_()
    gradient = pixel_gradient(m_q(images), images)
    with torch.no_grad():
        for channel, row, column in [(0, 0, 0), (1, 7, 3), (2, 9, 14), (0, 8, 8)]:
            shift = torch.zeros_like(images)
            shift[0, channel, row, column] = step
            slope = (m_q(images + shift) - m_q(images - shift)) / (2 * step)
            torch.testing.assert_close(gradient[0, channel, row, column], slope[0], rtol=1e-6, atol=1e-13)


def test_whole_saliency_equals_finite_differences():
    """Eq. 4 and 5 through `explain`, every pixel of a 6×6 image."""
    model, images, step = tiny_model(size=6).double(), random_images(1, size=6).double(), 1e-3
    explanation = plqlite.explain(model, images)
    m_q = QualityRegression(model, node_weights(model(images), explanation.scaled_quality))
    shifts = step * torch.eye(3 * 6 * 6, dtype=torch.float64).view(-1, 3, 6, 6)
    slopes = torch.cat([(m_q(images + s[None]) - m_q(images - s[None])) / (2 * step) for s in shifts])
    torch.testing.assert_close(
        explanation.saliency, slopes.view(1, 3, 6, 6).abs().mean(1), rtol=1e-6, atol=1e-13
    )


def test_equations_6_and_7_as_written():
    saliency = torch.logspace(-9, 0, 50, dtype=torch.float64)
    gamma = 7.5
    torch.testing.assert_close(pixel_level_quality(saliency, gamma), 1 - 1 / (1 + 10**gamma * saliency**2))
    assert pixel_level_quality(torch.tensor(10 ** (-gamma / 2)), gamma).item() == pytest.approx(0.5)
    assert pixel_level_quality(torch.tensor(0.0), gamma) == 0
    assert pixel_level_quality(torch.tensor(1e20), gamma) == 1


def test_no_saliency_is_too_small_or_too_large():
    """Twenty powers of ten in single precision: P rises wherever Ŝ does, and keeps to 0..1."""
    gamma = 11.0
    saliency = torch.logspace(-20.5, -2.5, 300)  # at −2.5, 10^γ Ŝ² = 10⁶; above, P rounds to 1
    plq = pixel_level_quality(saliency, gamma)
    assert (plq.diff() > 0).all()
    assert plq[0] > 0
    exact = pixel_level_quality(saliency.double(), gamma)
    torch.testing.assert_close(plq, exact.float(), rtol=1e-5, atol=0)
    huge = torch.tensor([1e19, 3e38, torch.inf], requires_grad=True)
    assert pixel_level_quality(huge, gamma).tolist() == [1, 1, 1]
    zero = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(pixel_level_quality(zero, gamma).sum(), zero)
    assert slope.item() == 0
    assert pixel_level_quality(torch.tensor(torch.nan), gamma).isnan()


def test_mean_over_channels_takes_magnitudes():
    assert mean_over_channels(torch.tensor([1.0, -2.0, -6.0]).view(1, 3, 1, 1)).item() == 3


def test_gradients_of_a_batch_are_per_image(tiny):
    images = random_images(4)
    alone = plqlite.explain(tiny, images[:1])
    changed = images.clone()
    changed[1:] = changed[1:].flip(-1)
    for batch in (images, changed):
        torch.testing.assert_close(plqlite.explain(tiny, batch).saliency[:1], alone.saliency)


def test_clip_by_value():
    gradient = torch.tensor([[-5.0, 0.2, 3.0]])
    torch.testing.assert_close(clip_by_value(gradient, 1.0), torch.tensor([[-1.0, 0.2, 1.0]]))


def test_clip_by_norm_is_per_image():
    gradient = torch.stack([torch.full((3, 2, 2), 10.0), torch.full((3, 2, 2), 0.01), torch.zeros(3, 2, 2)])
    clipped = clip_by_norm(gradient, 1.0)
    assert clipped[0].norm().item() == pytest.approx(1)
    torch.testing.assert_close(clipped[1:], gradient[1:])


def test_fit_gamma_sets_centre_and_background_farthest_apart():
    centre, background = torch.tensor([4e-6, 8e-6]), torch.tensor([1e-6, 2e-6])
    gamma = fit_gamma(centre, background)

    def contrast(gamma):
        c, b = (s.log().mean().exp() for s in (centre, background))
        return (pixel_level_quality(c, gamma) - pixel_level_quality(b, gamma)).item()

    assert all(contrast(gamma) > contrast(gamma + shift) for shift in (-1, -0.1, 0.1, 1))


def test_embedded_models_follow_the_rule_of_footnote_4(model, faces):
    """Where Q̂ is high, the centre shows the high colour and the surroundings the low one."""
    explanation = plqlite.explain(model, faces)
    unit = explanation.saliency / explanation.scaled_quality[:, None, None]
    centre, background = centre_and_background(pixel_level_quality(0.9 * unit, model.scaling.gamma))
    assert centre.mean() > 0.7
    assert background.mean() < 0.35


@pytest.mark.parametrize(
    ("centre", "background", "message"),
    [([], [], "at least one face"), ([1.0], [0.0], "above 0"), ([1.0], [2.0], "no more salient")],
)
def test_fit_gamma_refuses(centre, background, message):
    with pytest.raises(ValueError, match=message):
        fit_gamma(torch.tensor(centre), torch.tensor(background))
