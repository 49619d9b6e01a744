"""Partial AUC below a false-positive rate: a slow and obvious area, cases worked by hand, and what must not matter."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from pruneaudit.metrics import METRICS, auc_influence, per_victim, two_way
from pruneaudit.metrics.partial_auc import MAX_FPR, lowest, partial_auc_influence

# V victims, N samples

METRIC = METRICS.get("partial_auc")


def area_by_points(scores, member, max_fpr):
    """The standardised area, from the points of the curve one by one, joined by straight lines."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores), reverse=True):
        accused = scores >= threshold
        points.append((accused[~member].mean(), accused[member].mean()))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        end = min(right, max_fpr)
        if end > left:
            at_end = low + (high - low) * (end - left) / (right - left)
            area += (end - left) * (low + at_end) / 2
    guessing = max_fpr**2 / 2
    return (1 + (area - guessing) / (max_fpr - guessing)) / 2


@st.composite
def rows(draw):
    """Scores with ties, and membership with both sides."""
    size = draw(st.integers(2, 40))
    scores = draw(arrays(float, size, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0, 3.0])))
    member = draw(arrays(bool, size))
    member[0], member[1] = True, False
    return scores, member


@given(rows(), st.sampled_from([0.01, 0.1, 0.25, 0.4, 0.9, 1.0]))
def test_every_value_is_that_of_a_slow_and_obvious_area_and_of_scikit_learn(row, max_fpr):
    scores, member = row
    found = partial_auc_influence(scores[None], member[None], max_fpr).values[0]
    assert found == pytest.approx(area_by_points(scores, member, max_fpr), abs=1e-12)
    assert found == pytest.approx(roc_auc_score(member, scores, max_fpr=max_fpr), abs=1e-12)
    assert lowest(max_fpr) - 1e-12 <= found <= 1 + 1e-12


def test_at_one_percent_scikit_learn_gives_the_same_number():
    rng = np.random.default_rng(0)
    member = rng.random((5, 3000)) < 0.5
    scores = (rng.normal(size=member.shape) + member).round(2)
    expected = [roc_auc_score(inside, row, max_fpr=0.01) for row, inside in zip(scores, member, strict=True)]
    np.testing.assert_allclose(partial_auc_influence(scores, member).values, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("members", "others", "area"),
    [
        ([9, 8], [5, 4, 3, 2], 0.5),  # both above all
        ([1, 0], [5, 4, 3, 2], 0.0),  # both below all
        ([4.5, 0], [5, 4, 3, 2], 0.125),  # one above the second of four: a quarter of the rates, half of the members
        ([5, 0], [5, 4, 3, 2], 0.1875),  # a tie counts half: 0 to 0.5 over the first quarter, 0.5 over the second
        ([4, 0], [5, 4, 4, 4], 1 / 48),  # the rate 0.5 is a third of the way along a tie of three, which rises to 0.5
    ],
)
def test_areas_worked_by_hand(members, others, area):
    scores, member = np.array([*members, *others], float), np.arange(6) < 2
    expected = (1 + (area - 0.125) / 0.375) / 2
    assert partial_auc_influence(scores[None], member[None], 0.5).values[0] == pytest.approx(expected)


@given(rows())
def test_up_to_a_rate_of_one_it_is_the_auc_with_its_influence(row):
    scores, member = (part[None] for part in row)
    found, area = partial_auc_influence(scores, member, 1.0), auc_influence(scores, member)
    np.testing.assert_allclose(found.values, area.values, atol=1e-12)
    np.testing.assert_allclose(found.influence, area.influence, atol=1e-12)


def test_only_the_order_of_scores_counts_and_what_is_unscored_does_not():
    rng = np.random.default_rng(1)
    scores, member = rng.normal(size=(3, 2500)), rng.random((3, 2500)) < 0.5
    found = partial_auc_influence(scores, member)
    again = partial_auc_influence(np.exp(scores), member)
    np.testing.assert_allclose(again.values, found.values, rtol=1e-12)
    np.testing.assert_allclose(again.influence, found.influence, rtol=1e-9, atol=1e-15)
    padded = np.concatenate([scores, np.full((3, 100), np.nan)], axis=1)
    more = partial_auc_influence(padded, np.concatenate([member, np.ones((3, 100), bool)], axis=1))
    np.testing.assert_array_equal(more.values, found.values)
    np.testing.assert_array_equal(more.influence[:, 2500:], 0)
    assert np.abs(found.influence.sum(axis=1)).max() < 1e-12


def test_scores_below_the_threshold_do_not_count():
    rng = np.random.default_rng(2)
    scores, member = rng.normal(size=(1, 4000)), rng.random((1, 4000)) < 0.5
    low = scores < np.quantile(scores[~member], 0.9)
    shuffled = scores.copy()
    shuffled[low] = rng.permutation(scores[low])
    assert partial_auc_influence(shuffled, member).values == partial_auc_influence(scores, member).values
    assert (auc_influence(shuffled, member).values != auc_influence(scores, member).values).all()


def test_without_a_side_there_is_no_value_and_with_few_no_spread():
    scores = np.array([[0.3, 0.2, 0.9], [0.3, 0.2, np.nan], [0.1, 0.2, 0.3]])
    member = np.array([[True, True, True], [True, True, False], [True, True, False]])
    found = partial_auc_influence(scores, member)
    np.testing.assert_array_equal(np.isnan(found.values), [True, True, False])
    assert np.isnan(per_victim(*found, bounds=METRIC.bounds)[2].low)


def test_its_errors_are_those_of_many_draws():
    """Not a sign of the first-order error alone: with ten false positives the derivative would fall 5% short."""
    rng = np.random.default_rng(3)
    values, errors = [], []
    for _ in range(400):
        member = np.arange(2000) < 1000
        scores = rng.normal(size=2000) + 1.5 * member
        found = partial_auc_influence(scores[None], member[None])
        values.append(found.values[0])
        errors.append(np.sqrt((found.influence**2).sum()))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_it_is_suppressed_where_a_tpr_at_one_percent_is():
    tpr = METRICS.get("tpr_at_fpr")
    (at_one_percent,) = tpr.quantities([0.01])
    for num_nonmembers in (0, 1, 100, 999, 1000, 5000):
        why = METRIC.suppressed(METRIC.quantity, 500, num_nonmembers)
        assert why == tpr.suppressed(at_one_percent, 500, num_nonmembers)
        assert (why is None) == (num_nonmembers >= 1000)
    assert "1,000 non-members are needed" in METRIC.suppressed(METRIC.quantity, 500, 999)


@pytest.mark.parametrize(("shift", "end"), [(-100.0, lowest()), (100.0, 1.0)])
def test_at_a_bound_the_interval_has_a_width_and_ends_there(shift, end):
    rng = np.random.default_rng(4)
    member = rng.random((3, 3000)) < 0.5
    found = partial_auc_influence(rng.normal(size=member.shape) + shift * member, member)
    trials = METRIC.num_trials(1400, 1400)
    estimate = two_way(*found, bounds=METRIC.bounds, num_trials=trials)
    assert trials == int(1400 * MAX_FPR)
    assert estimate.value == pytest.approx(end)
    assert estimate.low < estimate.high
    assert METRIC.bounds[0] <= estimate.low
    assert estimate.high <= METRIC.bounds[1]
