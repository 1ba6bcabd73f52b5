"""Maps to compare with: what each is, on a network small enough to check by hand."""

import captum.attr
import captum.metrics
import numpy as np
import pytest
import torch

import plqlite
from conftest import built, random_images, tiny_model
from plqlite.experiments.faithfulness import max_sensitivity
from plqlite.experiments.rivals import (
    all_rivals,
    at_random,
    enlarged,
    grad_cam,
    gradient,
    integrated_gradients,
    leave_one_cell_out,
    occlusion,
    quality_gradient,
    quality_of,
    quality_of_cells,
    rise,
    smoothed,
    typicality,
)
from plqlite.networks.model import FaceModel


@pytest.mark.slow
def test_every_rival_has_one_number_a_pixel(model, faces):
    rivals = all_rivals(model, faces[2:], torch.rand(model.size, model.size))
    assert len(rivals) == 23
    for name, rival in rivals.items():
        if name.startswith(("occlusion", "RISE")):
            continue  # below, on a small network
        values = rival(model, faces[:2])
        assert values.shape == (2, model.size, model.size), name
        assert values.isfinite().all(), name
        assert not values.requires_grad, name
        assert values.equal(rival(model, faces[:2])), name  # the same each time


def test_noise_is_other_noise_for_another_image():
    images, model = random_images(2), tiny_model()
    one, other = at_random()(model, images)
    assert not one.equal(other)
    assert at_random()(model, images.flip(0)).equal(torch.stack([other, one]))
    assert not at_random(seed=1)(model, images)[0].equal(one)
    assert 0.4 < one.mean() < 0.6


def test_the_gradient_of_q_is_a_slope():
    model, image = tiny_model().double(), random_images(1).double()
    slope = quality_gradient(model, image)[0]
    for channel, row, column in [(0, 3, 4), (2, 10, 1)]:
        moved = image.repeat(2, 1, 1, 1)
        moved[0, channel, row, column] += 0.01
        moved[1, channel, row, column] -= 0.01
        higher, lower = plqlite.ser_fiq_closed_form(model, moved)
        assert slope[channel, row, column].item() == pytest.approx(((higher - lower) / 0.02).item(), rel=1e-4)
    assert gradient(model, image).equal(slope.abs().mean(0)[None])


def test_integrated_gradients_add_up():
    """Completeness: signed attributions sum to Q(image) − Q(baseline)."""
    model, image = tiny_model().double(), random_images(1).double()
    baseline = torch.full((3, 16, 16), 120.0).double()
    steps, way = 64, torch.zeros_like(image)
    for step in range(steps):
        way += quality_gradient(model, baseline + (step + 0.5) / steps * (image - baseline))
    total = ((image - baseline) * way / steps).sum()
    expected = torch.diff(plqlite.ser_fiq_closed_form(model, torch.stack([baseline, image[0]])))
    assert total.item() == pytest.approx(expected.item(), rel=1e-3)
    values = integrated_gradients(baseline, steps)(model, image)
    torch.testing.assert_close(values, ((image - baseline) * way / steps).sum(1).abs())


def cells_of(model, image):
    features, cells = model.features_and_cells(image)
    return features, cells


def test_without_a_cell_q_falls_by_what_the_map_says():
    model, image = tiny_model(), random_images(1)
    features, cells = cells_of(model, image)
    assert cells.shape == (1, 4, 7, 7)
    falls = leave_one_cell_out(model, image)
    small = torch.zeros(7, 7)
    for row in range(7):
        for column in range(7):
            without = cells.clone()
            without[..., row, column] = 0
            after = plqlite.quality.closed_form_quality(model.head, without.flatten(1))
            small[row, column] = plqlite.quality.closed_form_quality(model.head, features) - after
    expected = torch.nn.functional.interpolate(small[None, None], (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(falls[0], expected, atol=1e-6, rtol=1e-3)
    cam = grad_cam(model, image)
    assert cam.shape == (1, 16, 16)
    assert not cam.equal(falls)


def test_an_occluded_place_is_that_of_the_map():
    model, image = tiny_model(), random_images(1)
    baseline = torch.full((3, 16, 16), 100.0)
    values = occlusion(baseline, side=2)(model, image)
    covered = image.clone()
    covered[..., 8:, :8] = 100.0
    fall = plqlite.ser_fiq_closed_form(model, image) - plqlite.ser_fiq_closed_form(model, covered)
    assert values[0, -1, 0].item() == pytest.approx(fall.item(), abs=1e-6)


# --- a second opinion: captum ---


@pytest.fixture
def case():
    """A small network, an image, another one to replace it by, and Q as a function of images."""
    model = tiny_model().double()
    image, baseline = random_images(2).double()
    return model, image[None], baseline, lambda images: quality_of(model, model.features(images))


def test_captum_finds_the_same_integrated_gradients(case):
    model, image, baseline, quality = case
    attribution = captum.attr.IntegratedGradients(quality).attribute(
        image, baseline[None], n_steps=16, method="riemann_middle"
    )
    torch.testing.assert_close(integrated_gradients(baseline)(model, image), attribution.sum(1).abs())


def test_captum_finds_the_same_gradient(case):
    model, image, _, quality = case
    attribution = captum.attr.Saliency(quality).attribute(image.clone().requires_grad_())
    torch.testing.assert_close(gradient(model, image), attribution.mean(1))


def test_captum_finds_the_same_falls_behind_an_occluder(case):
    model, image, baseline, quality = case
    falls = captum.attr.Occlusion(quality).attribute(
        image, sliding_window_shapes=(3, 4, 4), strides=(3, 4, 4), baselines=baseline[None]
    )
    expected = torch.nn.functional.interpolate(falls[:, :1, ::4, ::4], (16, 16), mode="bilinear")[:, 0]
    torch.testing.assert_close(occlusion(baseline, side=4)(model, image), expected.to(image.dtype))


def test_captum_finds_the_same_sensitivity():
    """With its own noise, so of many draws: the largest of them differ a little."""
    model, image = tiny_model(), random_images(1).clamp(5, 250)  # so that no pixel is clipped
    ours = max_sensitivity(gradient, model, image[0], radius=2.0, draws=200)
    theirs = captum.metrics.sensitivity_max(
        lambda images: (gradient(model, images[0]),), image, perturb_radius=2.0, n_perturb_samples=200
    )
    assert ours == pytest.approx(theirs.item(), rel=0.15)


def test_rise_is_a_mean_of_q():
    model, image = tiny_model(), random_images(1)
    values = rise(image[0], passes=20)(model, image)  # mixed with itself: nothing changes
    torch.testing.assert_close(
        values, plqlite.ser_fiq_closed_form(model, image).expand_as(values), rtol=1e-4, atol=0
    )
    other = rise(torch.zeros(3, 16, 16), passes=20)(model, image)
    assert other.std() > 0


def test_a_place_is_typical_where_it_is_like_that_of_other_faces():
    others = random_images(20, size=112, seed=2)
    face = others.mean(0)[None].clone()
    face[..., 56:, :] = 255.0
    model = tiny_model(size=112)
    values = typicality(model, others)(model, face)
    assert values[0, :50].mean() > values[0, 62:].mean() + 1
    assert typicality(model, others, FaceModel.cells)(model, face).shape == (1, 112, 112)


def test_smoothing_averages():
    def first_pixel(model, images):
        return images.mean(1)

    image = torch.full((1, 3, 16, 16), 128.0)
    one, many = (smoothed(first_pixel, draws)(tiny_model(), image) for draws in (1, 64))
    assert one.std() > 4 * many.std() > 0
    torch.testing.assert_close(many.mean(), torch.tensor(128.0), atol=0.5, rtol=0)


def test_two_readings_have_one_order():
    """`literal` and `summed` weigh all features alike: one map, at two levels."""
    model, image = tiny_model().double(), random_images(1).double()
    literal, summed = (plqlite.explain(model, image, reading=each).saliency for each in ("literal", "summed"))
    torch.testing.assert_close(summed / summed.sum(), literal / literal.sum())


@pytest.mark.parametrize("see", [None, FaceModel.cells])
def test_typicality_by_hand(see):
    model, others, face = tiny_model(size=28), random_images(20, size=28, seed=2), random_images(1, size=28)
    with torch.no_grad():
        usual, seen = (images if see is None else model.cells(images) for images in (others, face))
    z = (seen - usual.mean(0)) / usual.std(0)
    torch.testing.assert_close(typicality(model, others, see)(model, face), enlarged(-(z**2).mean(1), 28))


def test_smoothing_stays_in_range_and_has_a_seed():
    image, model, seen = (
        torch.tensor([0.0, 255.0, 128.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16),
        tiny_model(),
        [],
    )

    def rival(model, images):
        seen.append(images)
        return images.mean(1)

    one, again, other = (smoothed(rival, seed=seed)(model, image) for seed in (0, 0, 1))
    assert torch.cat(seen).min() >= 0
    assert torch.cat(seen).max() <= 255
    assert one.equal(again)
    assert not one.equal(other)


def test_rise_is_higher_where_showing_the_image_raises_q():
    """Only the left half differs from the baseline: showing it takes Q from the one to the other."""
    model, (baseline, other) = tiny_model(), random_images(2)
    image = baseline.clone()
    image[..., :8] = other[..., :8]
    low, high = plqlite.ser_fiq_closed_form(model, torch.stack([baseline, image]))
    values = rise(baseline, passes=300)(model, image[None])[0]
    found = values[:, :8].mean() - values[:, 8:].mean()
    assert found.sign() == (high - low).sign()
    # and the other way round
    back = rise(image, passes=300)(model, baseline[None])[0]
    assert (back[:, :8].mean() - back[:, 8:].mean()).sign() == (low - high).sign()


def test_grad_cam_is_the_slope_of_scaling_a_cell():
    model, image = tiny_model().double(), random_images(1).double()
    cells = model.cells(image).detach()
    slopes = torch.zeros(1, 7, 7).double()
    for row, column in np.ndindex(7, 7):
        step = torch.zeros(1, 1, 7, 7).double()
        step[..., row, column] = 1e-4
        higher, lower = (quality_of_cells(model, cells * (1 + each)) for each in (step, -step))
        slopes[0, row, column] = (higher - lower) / 2e-4
    torch.testing.assert_close(grad_cam(model, image), enlarged(slopes, 16), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["sface", "facenet"])
def test_q_of_the_cells_is_q(name):
    model = built(name)
    images = random_images(1, size=model.size)
    with torch.no_grad():
        found = quality_of_cells(model, model.cells(images))
    torch.testing.assert_close(found, plqlite.ser_fiq_closed_form(model, images), rtol=1e-4, atol=1e-5)
