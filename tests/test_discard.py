"""Error versus discard, on cases with a known answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from plqlite.experiments.discard import (
    SHARES,
    all_pairs,
    equal_error_threshold,
    error_versus_discard,
    pair_quality,
    partial_area,
    random_area,
    threshold_at,
)


def on_a_circle(angles):
    angles = torch.tensor(angles)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture
def faces():
    """Ten subjects with six photos each; of each subject two photos lie apart: these fail."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.nn.functional.normalize(torch.randn(10, 64, generator=generator), dim=1)
    bad = torch.zeros(10, 6, dtype=torch.bool)
    bad[:, :2] = True
    noise = torch.randn(10, 6, 64, generator=generator) * torch.where(bad, 0.5, 0.02)[..., None]
    embeddings = torch.nn.functional.normalize(middle[:, None] + noise, dim=-1).flatten(0, 1)
    subjects = np.repeat([f"subject {number}" for number in range(10)], 6)
    return all_pairs(embeddings, subjects, [str(number) for number in range(60)]), bad.flatten().numpy()


def test_no_image_meets_itself_or_a_version_of_itself():
    pairs = all_pairs(on_a_circle([0.0, 0.1, 0.2, 1.0, 1.1]), list("aaabb"), ["1", "1", "2", "3", "3"])
    found = {(first, second) for first, second in zip(pairs.first, pairs.second, strict=True)}
    assert found == {(0, 2), (1, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)}
    assert pairs.genuine.sum() == 2
    assert pairs.subject[pairs.genuine].tolist() == ["a", "a"]
    for first, second, score in zip(pairs.first, pairs.second, pairs.score, strict=True):
        angles = [0.0, 0.1, 0.2, 1.0, 1.1]
        assert score == pytest.approx(np.cos(angles[first] - angles[second]), abs=1e-6)


@given(st.integers(0, 9999), st.sampled_from([0.01, 0.1, 0.25]))
def test_the_threshold_is_the_lowest_that_few_impostors_pass(seed, fmr):
    scores = np.random.default_rng(seed).integers(0, 50, 200) / 50  # with ties
    threshold = threshold_at(scores, fmr)
    assert (scores >= threshold).mean() <= fmr
    assert (scores >= np.nextafter(threshold, -1)).mean() > fmr


def test_too_few_impostors_are_said():
    with pytest.raises(ValueError, match=r"99 impostor pairs do not reach .* 0\.01: it takes 100 or more"):
        threshold_at(np.zeros(99), 0.01)


def test_at_the_equal_error_threshold_both_errors_are_equal(faces):
    pairs, _ = faces
    threshold = equal_error_threshold(pairs)
    matched = pairs.score >= threshold
    assert (~matched[pairs.genuine]).mean() == pytest.approx(matched[~pairs.genuine].mean(), abs=0.01)
    assert 0.01 < (~matched[pairs.genuine]).mean() < 0.5


def test_without_discarding_the_error_is_that_of_the_roc_curve(faces):
    pairs, _ = faces
    curve = error_versus_discard(pairs, np.zeros(60), fmr=0.01)
    fpr, tpr, _ = roc_curve(pairs.genuine, pairs.score, drop_intermediate=False)
    assert curve["fnmr"][0] == pytest.approx(1 - tpr[fpr <= 0.01].max())
    assert curve["left"].iloc[[0, -1]].tolist() == [150, 75]
    assert curve["discarded"].tolist() == pytest.approx(SHARES)


def test_a_score_that_knows_wins_and_its_reverse_loses(faces):
    pairs, bad = faces
    threshold = threshold_at(pairs.score[~pairs.genuine], 0.01)
    wrong = pairs.genuine & (pairs.score < threshold)
    assert wrong.sum() > 20
    curves = {
        name: error_versus_discard(pairs, quality, 0.01, threshold)["fnmr"]
        for name, quality in {"knows": -1.0 * bad, "reverse": 1.0 * bad, "nothing": np.zeros(60)}.items()
    }
    assert (curves["knows"].diff().dropna() < 0.01).all()
    assert curves["knows"].iloc[-1] < curves["nothing"].iloc[-1] < curves["reverse"].iloc[-1]
    areas = {
        "knows": partial_area(pairs, -1.0 * bad, threshold, 0.5),
        "reverse": partial_area(pairs, 1.0 * bad, threshold, 0.5),
    }
    nothing = [partial_area(pairs, np.zeros(60), threshold, 0.5, seed, draws=2).mean for seed in range(20)]
    assert areas["knows"].high < 0.9 < areas["reverse"].low < areas["reverse"].high
    assert np.mean(nothing) == pytest.approx(1, abs=0.05)  # ties are broken by the seed: chance
    assert len(set(nothing)) == 20
    assert areas["knows"].count == 150


def test_the_area_is_that_under_the_curve(faces):
    pairs, bad = faces
    quality = -1.0 * bad + np.random.default_rng(0).random(60)
    threshold = threshold_at(pairs.score[~pairs.genuine], 0.01)
    for limit in (0.05, 0.2, 0.5):
        shares = np.linspace(0, limit, 101)
        fnmr = error_versus_discard(pairs, quality, 0.01, threshold, shares)["fnmr"]
        area = partial_area(pairs, quality, threshold, limit, draws=2)
        assert area.mean == pytest.approx(fnmr.mean() / fnmr[0], rel=1e-9)


def test_a_pair_is_as_good_as_its_worse_image(faces):
    pairs, _ = faces
    quality = np.arange(60.0)
    assert (pair_quality(pairs, quality) == np.minimum(pairs.first, pairs.second)).all()


def test_a_threshold_chosen_anew_sees_the_impostors_that_are_left():
    """The impostor pairs that match are of a poor photo: without it, the threshold falls."""
    angles = [0.52, 0.5, 0.55, 3.0, 3.1, 3.2]
    pairs = all_pairs(on_a_circle(angles), list("abbbaa"), list("123456"))
    quality = np.array([0.0, 1, 1, 1, 1, 1])
    anew = error_versus_discard(pairs, quality, fmr=0.2, shares=np.array([0.0, 0.5]))
    assert anew["threshold"][1] < 0.99 < anew["threshold"][0]
    fixed = error_versus_discard(pairs, quality, 0.2, threshold=0.9, shares=np.array([0.0, 0.5]))
    assert fixed["threshold"].tolist() == [0.9, 0.9]


def test_subjects_are_drawn_with_all_of_their_pairs(faces):
    """One subject has all the errors: draws without him have none, and the interval says so."""
    pairs, bad = faces
    one = pairs._replace(score=np.where(pairs.subject == "subject 0", pairs.score, 1.0))
    estimate = partial_area(one, -1.0 * bad, threshold=0.9, limit=0.5)
    assert np.isfinite([estimate.low, estimate.high]).all()
    none = partial_area(one._replace(score=np.ones_like(one.score)), -1.0 * bad, 0.9, 0.5)
    assert np.isnan(none[:3]).all()


def test_qualities_are_numbers(faces):
    with pytest.raises(ValueError, match="1 of 60 qualities are NaN"):
        error_versus_discard(faces[0], np.array([np.nan] + [1.0] * 59), 0.01)


def test_luck_is_between_what_other_random_scores_are(faces):
    pairs, _ = faces
    threshold = threshold_at(pairs.score[~pairs.genuine], 0.01)
    rng = np.random.default_rng(7)
    for limit in (0.05, 0.5):
        luck = random_area(pairs, threshold, limit, draws=400)
        fresh = [partial_area(pairs, rng.random(60), threshold, limit, draws=0).mean for _ in range(400)]
        assert np.mean([luck.low <= each <= luck.high for each in fresh]) == pytest.approx(0.95, abs=0.035)
        assert luck.mean == pytest.approx(1, abs=0.05)
        assert luck.count == 150


def test_the_seed_breaks_ties(faces):
    curves = [
        error_versus_discard(faces[0], np.zeros(60), 0.01, 0.9, seed=seed)["fnmr"].tolist()
        for seed in (0, 0, 1)
    ]
    assert curves[0] == curves[1] != curves[2]
