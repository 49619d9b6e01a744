import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import (
    PerVictim,
    auc_influence,
    binomial_interval,
    bootstrap_tpr,
    difference_two_way,
    per_victim,
    per_victim_replicates,
    two_way,
    two_way_replicates,
)
from pruneaudit.metrics.intervals import _quantile


def bank(num_victims, num_samples=200, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    member = rng.random((num_victims, num_samples)) < 0.5
    return rng.normal(size=member.shape) + shift * member, member


def test_two_way_by_hand():
    # Victims 0.6, 0.7, 0.8; one sample moves all three by 0.1, three samples move one each by 0.05.
    influence = np.column_stack([np.full(3, 0.1), 0.05 * np.eye(3)])
    by_sample, by_both, by_model = 0.01 + 3 * (0.05 / 3) ** 2, (3 * 0.01 + 3 * 0.0025) / 9, 0.01 / 3
    shared = (by_sample - by_both) * 3 / 2
    assert shared == pytest.approx(0.01), "the formula finds what is shared exactly"
    variance = shared + by_model
    freedom = variance**2 / (by_model**2 / 2 + shared**2 / 3)
    found = two_way(np.array([0.6, 0.7, 0.8]), influence)
    assert found.value == pytest.approx(0.7)
    assert found.std_error == pytest.approx(np.sqrt(variance))
    assert found.low == pytest.approx(0.7 - stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    assert found.high == pytest.approx(min(1.0, 0.7 + stats.t.ppf(0.975, freedom) * np.sqrt(variance)))
    assert "conditional on this bank" in found.method


@settings(deadline=None)
@given(
    st.integers(2, 12).flatmap(
        lambda v: st.tuples(
            arrays(float, v, elements=st.floats(0, 1)), arrays(float, (v, 6), elements=st.floats(-0.5, 0.5))
        )
    )
)
def test_two_way_is_never_below_either_clustering(case):
    values, influence = case
    found = two_way(values, influence)
    by_model, by_sample = values.var(ddof=1) / len(values), (influence.mean(axis=0) ** 2).sum()
    assert found.std_error**2 >= max(by_model, by_sample) * (1 - 1e-9)
    assert found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12
    assert found.low >= 0
    assert found.high <= 1


def test_one_victim_gets_delongs_interval():
    values, influence = auc_influence(*bank(1))
    error = np.sqrt((influence**2).sum())
    found = two_way(values, influence)
    assert found == per_victim(values, influence)[0]
    assert found.low == pytest.approx(values[0] - 1.959964 * error)
    assert "one model" in found.method


def test_copies_of_one_victim_add_nothing():
    values, influence = auc_influence(*bank(1))
    alone = two_way(values, influence)
    copied = two_way(np.repeat(values, 20), np.repeat(influence, 20, axis=0))
    assert copied.std_error == pytest.approx(alone.std_error, rel=1e-6)


def test_victims_on_samples_of_their_own_count_as_independent():
    scores, member = bank(30, 6000)
    scores[np.arange(6000) % 30 != np.arange(30)[:, None]] = np.nan
    values, influence = auc_influence(scores, member)
    found = two_way(values, influence)
    assert found.std_error == pytest.approx(values.std(ddof=1) / np.sqrt(30), rel=0.2)
    assert "conditional" not in found.method


def test_smaller_alpha_is_wider():
    values, influence = auc_influence(*bank(5))
    wide, narrow = two_way(values, influence, alpha=0.01), two_way(values, influence, alpha=0.2)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_identical_inputs_differ_by_exactly_nothing():
    scores, member = bank(4)
    metric = auc_influence(scores, member)
    found = difference_two_way(metric, auc_influence(np.exp(scores), member))
    assert (found.value, found.low, found.high, found.std_error) == (0, 0, 0, 0)
    tpr, replicates = bootstrap_tpr(scores, member, [0.1], 30, np.random.default_rng(1))
    again, repeated = bootstrap_tpr(scores, member, [0.1], 30, np.random.default_rng(1))
    found = two_way_replicates((tpr - again)[:, 0], (replicates - repeated)[:, :, 0], bounds=(-1, 1))
    assert (found.value, found.low, found.high, found.std_error) == (0, 0, 0, 0)


def test_pairing_is_narrower_than_two_separate_intervals_and_antisymmetric():
    scores, member = bank(6)
    first = auc_influence(scores, member)
    second = auc_influence(scores + np.random.default_rng(1).normal(scale=0.3, size=scores.shape), member)
    found, mirrored = difference_two_way(first, second), difference_two_way(second, first)
    apart = np.hypot(two_way(*first).std_error, two_way(*second).std_error)
    assert found.std_error < 0.7 * apart
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_victims_without_a_value_are_left_out_and_said_so():
    scores, member = bank(5)
    whole = two_way(*auc_influence(scores[1:], member[1:]))
    scores[0] = np.nan
    values, influence = auc_influence(scores, member)
    found = two_way(values, influence)
    assert (found.value, found.low, found.high) == (whole.value, whole.low, whole.high)
    assert "1 of 5 victims without a value left out" in found.method
    assert "4 of 5" in two_way(np.where(np.arange(5) < 2, values, np.nan), influence).method
    nothing = two_way(np.full(5, np.nan), influence)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.method == "no victim has a value"


def test_an_unknown_spread_gives_no_interval():
    scores, member = np.array([[3.0, 1, 2], [3, 1, 2]]), np.array([[True, False, False], [True, False, True]])
    for found in (two_way(*auc_influence(scores, member)), two_way(*auc_influence(scores[:1], member[:1]))):
        assert not np.isnan(found.value)
        assert np.isnan([found.low, found.high, found.std_error]).all()


def test_perfect_separation_gets_the_exact_limit():
    scores = np.array([np.where(np.arange(100) < 40, 1.0, 0.0)] * 2)
    member = np.array([np.arange(100) < 40] * 2)
    values, influence = auc_influence(scores, member)
    assert two_way(values, influence).low == 1, "without the number of trials there is nothing to go by"
    found = two_way(values, influence, num_trials=40)
    assert (found.low, found.high) == pytest.approx((float(binomial_interval(40, 40)[0]), 1.0))
    assert found.method.endswith("exact at the bound")
    never = two_way_replicates(np.zeros(2), np.zeros((9, 2)), num_trials=40)
    assert (never.low, never.high) == pytest.approx((0.0, float(binomial_interval(0, 40)[1])))


def test_replicates_follow_the_same_formula_as_influence():
    # Replicates of a linear statistic have the covariance that its influence values say.
    rng = np.random.default_rng(2)
    values, influence = auc_influence(*bank(12))
    replicates = values + rng.normal(size=(20_000, influence.shape[1])) @ influence.T
    by_replicates, by_influence = two_way_replicates(values, replicates), two_way(values, influence)
    assert by_replicates.value == by_influence.value
    assert by_replicates.std_error == pytest.approx(by_influence.std_error, rel=0.02)


def test_one_victims_replicates_give_percentiles():
    replicates = np.linspace(0.2, 0.6, 201)[:, None]
    found = two_way_replicates(np.array([0.4]), replicates)
    assert (found.low, found.high) == pytest.approx((0.21, 0.59))
    assert found == per_victim_replicates(np.array([0.4]), replicates)[0]
    left = two_way_replicates(np.array([0.4, np.nan]), np.column_stack([replicates, np.full(201, np.nan)]))
    assert (left.low, left.high) == (found.low, found.high)
    assert "1 of 2" in left.method


def test_one_victims_difference_is_symmetric_about_its_value():
    replicates = np.random.default_rng(0).exponential(0.1, size=(500, 1))
    found = two_way_replicates(np.array([0.1]), replicates, bounds=(-1, 1))
    assert (found.low + found.high) / 2 == pytest.approx(0.1)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * replicates.std(ddof=1))


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_clopper_pearson_limits_are_where_the_tails_are_half_of_alpha(alpha):
    successes, trials = np.array([[1], [7], [19]]), np.array([20, 40])
    low, high = binomial_interval(successes, trials, alpha)
    np.testing.assert_allclose(stats.binom.sf(successes - 1, trials, low), alpha / 2)
    np.testing.assert_allclose(stats.binom.cdf(successes, trials, high), alpha / 2)


def test_clopper_pearson_at_the_ends():
    low, high = binomial_interval([0, 10, 0], [10, 10, 0])
    np.testing.assert_allclose(low, [0, 0.025**0.1, 0])
    np.testing.assert_allclose(high, [1 - 0.025**0.1, 1, 1])
    with pytest.raises(UserError, match="successes"):
        binomial_interval(3, 2)


def test_wrong_shapes_are_explained():
    with pytest.raises(UserError, match=r"\(2,\).*\(3, 4\)"):
        two_way(np.zeros(2), np.zeros((3, 4)))
    with pytest.raises(UserError, match="choose one level"):
        two_way_replicates(np.zeros(2), np.zeros((5, 2, 3)))
    with pytest.raises(UserError, match="at least 2 resamples"):
        two_way_replicates(np.zeros(2), np.zeros((1, 2)))


def test_metrics_unpack_into_intervals():
    metric = auc_influence(*bank(3))
    assert isinstance(metric, PerVictim)
    assert two_way(*metric) == two_way(metric.values, metric.influence)


def test_quantiles_are_those_of_scipy_stats_bit_for_bit():
    rng = np.random.default_rng(0)
    for freedom, alpha in zip(np.exp(rng.uniform(0, 9, 200)), rng.uniform(1e-4, 0.5, 200), strict=True):
        assert _quantile(freedom, alpha) == stats.t.ppf(1 - alpha / 2, freedom)
        assert _quantile(np.inf, alpha) == stats.norm.ppf(1 - alpha / 2)
