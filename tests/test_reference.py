"""Deviation: maps of a face against those of clean faces."""

import pytest
import torch

import plqlite
from conftest import random_images, reference_map, square, tiny_model
from plqlite.calibration import Measurements, ReferenceStatistics, Statistic
from plqlite.development import measure
from plqlite.reference import deviation, fit_reference_statistics, maps_of, relative_level


@pytest.mark.parametrize("size", [112, 160])
def test_relative_level_knows_neither_scale_nor_size(size):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 28, 28, generator=generator) + 0.1
    small = torch.nn.functional.interpolate(coarse, (112, 112), mode="nearest")[:, 0]
    large = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[:, 0]
    assert relative_level(large).shape == (2, 28, 28)
    torch.testing.assert_close(relative_level(1e-7 * small), relative_level(small), atol=1e-4, rtol=0)
    assert (relative_level(large) - relative_level(small)).abs().mean() < 0.05


def test_relative_level_is_measured_against_the_higher_half():
    saliency = torch.ones(1, 112, 112)
    assert relative_level(saliency).abs().max() < 1e-6
    saliency[0, :40] = 1e-3  # a third is low: the rest stays at zero
    level = relative_level(saliency)[0]
    assert level[14:].abs().max() < 1e-5
    assert level[:8].max() < -6
    torch.testing.assert_close(relative_level(saliency.flip(1))[0], level.flip(0))  # wherever it is low


def test_relative_level_is_smoothed_twice():
    """Over 3×3 places: 9/81 of a place stay in it, 1/81 come to the one that is two away in x and y."""
    saliency = torch.ones(1, 112, 112)
    saliency[0, 56:60, 56:60] += 81
    level = relative_level(saliency)[0]
    found = (level - level[0, 0]).exp()
    torch.testing.assert_close(found[[14, 12, 11], [14, 12, 14]], torch.tensor([10.0, 2.0, 1.0]))


def test_lower_than_the_reference_counts_not_low():
    """Negative where a map is lower, in standard deviations."""
    saliency = torch.ones(1, 112, 112)
    saliency[0, :56] = 0.01
    low_above = relative_level(saliency)[0]
    ones, maps = torch.ones(28, 28), maps_of(saliency)
    assert deviation(maps, reference_map(torch.zeros(28, 28), ones), 112)[0, :40].max() < -3
    assert deviation(maps, reference_map(low_above, ones), 112).abs().max() < 1e-5
    lower = deviation(maps, reference_map(low_above + 1, 2 * ones), 28)  # half of the shift is of the whole
    torch.testing.assert_close(lower, torch.full((1, 28, 28), -0.25))


def test_half_of_what_is_low_everywhere_is_no_deviation():
    """A map that is 4 standard deviations low throughout is 2 low at each place, and covered ones 4 more."""
    level = torch.full((1, 28, 28), -4.0)
    level[0, :5] -= 4
    z = deviation({"level": level}, reference_map(torch.zeros(28, 28), torch.ones(28, 28)), 28)[0]
    assert (z[5:] == -2).all()
    assert (z[:5] == -6).all()


def test_coarse_maps_count_less_and_unknown_ones_nothing():
    """Three of seven cells in a row: 3/7 of the weight."""
    one, zero = torch.ones(28, 28), torch.zeros(28, 28)
    pair = Statistic(torch.zeros(3, 3), torch.ones(3, 3))
    reference = ReferenceStatistics({"level": Statistic(zero, one), "noise": pair}, torch.linspace(0, 1, 101))
    maps = {"level": zero[None], "noise": torch.full((1, 3, 3), -2.0), "signal": torch.full((1, 3, 3), 9.0)}
    low = -2 * (3 / 7) / (1 + 3 / 7)
    torch.testing.assert_close(deviation(maps, reference, 28), torch.full((1, 28, 28), low / 2))


def made_up(count, seed=0):
    maps = torch.rand(count, 112, 112, generator=torch.Generator().manual_seed(seed)) + 0.1
    generator = torch.Generator().manual_seed(seed + 1)
    signal, noise = (torch.rand(count, 7, 7, generator=generator) for _ in range(2))
    return Measurements(*torch.rand(3, count, generator=generator), maps_of(maps, signal, noise))


def test_clean_faces_deviate_by_a_standard_deviation():
    """Of the faces that the statistics are learnt from: on average by nothing, and by about one."""
    faces = made_up(200)
    reference = fit_reference_statistics(faces)
    assert list(reference.maps) == ["level", "signal", "noise", "combined"]
    assert reference.maps["signal"].mean.shape == (7, 7)
    z = deviation(faces.maps, reference, 28)
    assert z.mean(0).abs().max() < 1e-4
    assert 0.8 < z.std(0).min() < z.std(0).max() < 1.2
    others = deviation(made_up(200, seed=5).maps, reference, 28)
    assert 0.8 < others.std() < 1.2


def test_standard_deviations_are_drawn_towards_their_mean():
    """By 30 %: a place that varies little by chance raises no alarm."""
    level = torch.zeros(2, 28, 28)
    level[0, :14], level[1, :14] = -1, 1
    faces = Measurements(torch.tensor([0.2, 0.6]), torch.ones(2), torch.ones(2), {"level": level})
    found = fit_reference_statistics(faces)
    mean, std = found.maps["level"]
    assert (mean == 0).all()
    own = 2**0.5
    torch.testing.assert_close(std[:14], torch.full((14, 28), 0.7 * own + 0.3 * own / 2))
    torch.testing.assert_close(std[14:], torch.full((14, 28), 0.3 * own / 2))
    torch.testing.assert_close(found.quality_percentiles[[0, 25, 100]], torch.tensor([0.2, 0.3, 0.6]))
    one = Measurements(*(each[:1] for each in faces[:3]), {"level": level[:1]})
    with pytest.raises(ValueError, match="1 faces: reference statistics take at least 2"):
        fit_reference_statistics(one)


def test_explain_gives_the_deviation_of_its_own_maps(tiny_reference):
    images = random_images(3, size=112)
    explanation = plqlite.explain(tiny_reference, images)
    maps = maps_of(explanation.saliency, explanation.signal, explanation.noise)
    assert list(maps) == ["level", "signal", "noise"]
    expected = deviation(maps, tiny_reference.reference_statistics, 112)
    torch.testing.assert_close(explanation.deviation, expected)
    measured = measure(tiny_reference, images).maps
    for name, values in maps.items():
        torch.testing.assert_close(measured[name], values, atol=1e-4, rtol=1e-4, msg=name)
    assert plqlite.explain(tiny_model(size=112), images).deviation is None


@pytest.mark.slow
def test_a_covered_place_deviates_most(model, faces):
    """Against the package's statistics, in eight of nine sample faces and more."""
    covered, mask = faces.clone(), square(model.size, model.size // 2, model.size // 4, model.size // 4)
    covered[:, :, mask] = 40.0
    z = plqlite.explain(model, covered).deviation
    clean = plqlite.explain(model, faces).deviation
    fall = (clean - z).flatten(1)
    inside = mask.flatten()
    assert (fall[:, inside].mean(1) > fall[:, ~inside].mean(1) + 1).sum() >= 8
