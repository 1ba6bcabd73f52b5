import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import plqlite
from plqlite.experiments.statistics import (
    localisation_auc,
    mean_over_identities,
    pixel_change,
    quality_change,
    share_positive,
)


def explanation(scaled, plq):
    scaled = torch.tensor(scaled)
    saliency = torch.zeros(len(scaled), 2, 2)
    plq = torch.tensor(plq)
    return plqlite.Explanation(scaled + 1, scaled, saliency, plq, pattern=plq)


CLEAN = explanation([0.9, 0.5], [[[1.0, 0.8], [0.6, 0.4]], [[0.5, 0.5], [0.5, 0.5]]])

MASKED = explanation([0.6, 0.6], [[[0.5, 0.7], [0.6, 0.0]], [[0.9, 0.5], [0.5, 0.5]]])


def test_changes_are_clean_minus_masked():
    """Equations 8 and 9 by hand."""
    masks = torch.tensor([[[True, True], [False, False]], [[True, False], [False, False]]])
    torch.testing.assert_close(quality_change(CLEAN, MASKED), torch.tensor([0.3, -0.1]))
    torch.testing.assert_close(pixel_change(CLEAN, MASKED, masks), torch.tensor([0.3, -0.4]))


def test_one_clean_image_may_face_many_masked_ones():
    one = explanation([0.9], [[[1.0, 0.8], [0.6, 0.4]]])
    torch.testing.assert_close(quality_change(one, MASKED), torch.tensor([0.3, 0.3]))
    everything = torch.ones(2, 2, 2, dtype=torch.bool)
    torch.testing.assert_close(pixel_change(one, MASKED, everything), torch.tensor([0.25, 0.1]))


def test_an_empty_mask_has_no_change():
    masks = torch.tensor([[[True, False], [False, False]], [[False, False], [False, False]]])
    with pytest.raises(ValueError, match="1 of 2 masks are empty"):
        pixel_change(CLEAN, MASKED, masks)


@given(st.integers(0, 9999), st.integers(1, 15))
def test_auc_is_the_chance_that_a_covered_pixel_is_lower(seed, covered):
    rng = np.random.default_rng(seed)
    plq, mask = rng.integers(0, 5, (4, 4)) / 4, np.zeros(16, dtype=bool)
    mask[rng.permutation(16)[:covered]] = True
    mask = mask.reshape(4, 4)
    inside, outside = plq[mask][:, None], plq[~mask][None]
    chance = ((inside < outside) + 0.5 * (inside == outside)).mean()
    assert localisation_auc(torch.tensor(plq), torch.tensor(mask)) == pytest.approx(chance)


@pytest.mark.parametrize("value", [True, False])
def test_auc_of_a_mask_of_everything_or_nothing_is_refused(value):
    with pytest.raises(ValueError, match="nothing to find"):
        localisation_auc(torch.rand(3, 3), torch.full((3, 3), value))


def test_shares_come_with_interval_and_number():
    values = [1.0] * 70 + [-1.0] * 20 + [0.0] * 10
    share = share_positive(values, [f"person {i}" for i in range(100)])
    assert share.mean == 0.7
    assert share.count == 100
    # a share of 100 independent subjects has the standard error √(0.7·0.3/100)
    assert (share.low, share.high) == pytest.approx((0.7 - 1.96 * 0.0458, 0.7 + 1.96 * 0.0458), abs=0.0105)


def test_subjects_are_drawn_not_images():
    """Ten photos each of ten subjects who behave alike say no more than one photo each."""
    values = np.repeat([1.0] * 7 + [-1.0] * 3, 10)
    as_subjects = share_positive(values, np.repeat(np.arange(10), 10).astype(str))
    as_images = share_positive(values, np.arange(100).astype(str))
    assert as_subjects.mean == as_images.mean
    assert as_subjects.high - as_subjects.low > 2.5 * (as_images.high - as_images.low)


def test_subjects_with_more_photos_weigh_more():
    assert mean_over_identities([1, 1, 1, 5], ["ada", "ada", "ada", "bob"]).mean == 2
    low, high = mean_over_identities([1, 1, 1, 5], ["ada", "ada", "ada", "bob"])[1:3]
    assert (low, high) == (1, 5)


def test_the_seed_chooses_the_draws():
    values, subjects = np.random.default_rng(0).normal(size=40), [str(i) for i in range(40)]
    assert mean_over_identities(values, subjects) == mean_over_identities(values, subjects, seed=0)
    assert mean_over_identities(values, subjects) != mean_over_identities(values, subjects, seed=1)


def test_one_identity_has_no_interval():
    estimate = share_positive([1, 2, -3, 4], ["ada"] * 4)
    assert estimate.mean == 0.75
    assert estimate.count == 4
    assert np.isnan([estimate.low, estimate.high]).all()


def test_nan_is_no_value():
    for function in (share_positive, mean_over_identities):
        with pytest.raises(ValueError, match="1 of 3 values are NaN"):
            function([float("nan"), 1.0, -1.0], ["ada", "bob", "cem"])


@pytest.mark.parametrize(("values", "subjects"), [([], []), ([1.0, 2.0], ["ada"])])
def test_no_values_or_a_wrong_number_of_identities_are_refused(values, subjects):
    with pytest.raises(ValueError, match="give one identity for each value"):
        share_positive(values, subjects)


def test_interval_weighs_subjects_by_their_photos():
    subjects = [f"{person}" for person in range(200) for _ in range(9 if person % 2 else 1)]
    values = [float(int(person) % 2 == 0) for person in subjects]
    found = mean_over_identities(values, subjects)
    assert found.mean == pytest.approx(0.1)
    assert 0.07 < found.low < 0.1 < found.high < 0.13  # a mean over the means of subjects would be 0.5


def test_subjects_bring_all_of_their_values():
    """Ones everywhere, however many of each subject: no interval can be wider than a point."""
    estimate = mean_over_identities(np.ones(12), ["ada"] * 9 + ["bob"] * 2 + ["cem"])
    assert (estimate.mean, estimate.low, estimate.high) == (1, 1, 1)
