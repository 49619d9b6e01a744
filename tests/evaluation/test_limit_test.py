"""Tests of a figure against its limit: p-values and bounds agree, mirror for accuracies, and are exact at a bound."""

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.evaluation.limit_test import LOGIT, PERCENTILE, LimitTest, Question, T, answer, follows, unanswered
from pruneaudit.metrics import PerVictim, Replicated, bootstrap_tpr, mean_of, rate_influence


def made(mean, spread=0.02, num_victims=8, num_samples=300, seed=0):
    """Values and influence of a figure of every victim."""
    rng = np.random.default_rng(seed)
    influence = rng.normal(size=(num_victims, num_samples)) * spread / np.sqrt(num_samples)
    return PerVictim(np.clip(mean + rng.normal(size=num_victims) * spread, 0, 1), influence)


def t_form(value, error, freedom, limit):
    return scipy.stats.t.cdf((value - limit) / error, freedom), value + scipy.stats.t.ppf(0.95, freedom) * error


def test_the_more_cautious_of_the_t_forms_on_both_scales():
    for mean, limit in ((0.6, 0.65), (0.08, 0.1), (0.92, 0.95), (0.03, 0.04)):
        found = made(mean)
        estimate = mean_of(found)
        plain = t_form(estimate.value, estimate.std_error, estimate.freedom, limit)
        logit = scipy.special.logit
        scaled = estimate.std_error / (estimate.value * (1 - estimate.value))
        other = t_form(logit(estimate.value), scaled, estimate.freedom, logit(limit))
        test = answer(Question("auc", limit), found)
        assert test.method == LOGIT
        assert test.p_value == pytest.approx(max(plain[0], other[0]))
        assert test.bound == pytest.approx(max(plain[1], scipy.special.expit(other[1])))
        assert test.margin == pytest.approx((limit - estimate.value) / estimate.std_error)


@given(st.floats(0.02, 0.98), st.floats(0.05, 0.95), st.floats(0.005, 0.1), st.sampled_from(["auc", "test_accuracy"]))
def test_a_small_p_value_is_a_bound_within_the_limit(mean, limit, spread, figure):
    test = answer(Question(figure, limit), made(mean, spread))
    kept = test.bound <= limit if figure == "auc" else test.bound >= limit
    assert (test.p_value <= 0.05) == kept or abs(test.bound - limit) < 1e-9


@given(st.floats(0.02, 0.98), st.floats(0.05, 0.95))
def test_an_accuracy_is_the_mirrored_error(mean, limit):
    found = made(mean)
    of_accuracy = answer(Question("test_accuracy", limit), found)
    of_error = answer(Question("auc", 1 - limit), PerVictim(1 - found.values, -found.influence))
    assert of_accuracy.p_value == pytest.approx(of_error.p_value, abs=1e-9)
    assert of_accuracy.bound == pytest.approx(1 - of_error.bound, abs=1e-9)


@pytest.mark.parametrize("figure", ["auc", "test_accuracy"])
def test_one_victim_near_a_bound_has_the_percentile_of_its_replicates(figure):
    rng = np.random.default_rng(1)
    member = rng.random((1, 800)) < 0.5
    scores = rng.normal(size=(1, 800)) - 0.4 * member
    tpr, replicates = bootstrap_tpr(scores, member, [0.02], 200, np.random.default_rng(2))
    found = Replicated(tpr[:, 0], replicates[..., 0])
    if figure == "test_accuracy":
        found = Replicated(1 - found.values, 1 - found.replicates)
    estimate, limit = mean_of(found), 0.01 if figure == "auc" else 0.99
    test = answer(Question(figure, limit), found)
    above = (replicates[:, 0, 0] > 0.01).sum()
    plain = scipy.stats.norm.cdf(-abs(estimate.value - limit) / estimate.std_error)
    assert test.method == PERCENTILE
    assert test.p_value == pytest.approx(max(plain, (1 + above) / 201))


def test_without_any_spread_at_a_bound_the_limit_is_exact():
    valid = np.ones((3, 50), dtype=bool)
    found = rate_influence(valid, valid, np.zeros((3, 50), dtype=bool)).fpr
    test = answer(Question("test_accuracy", 0.9, num_trials=50), found)
    assert test.value == 1 and test.p_value == pytest.approx(0.9**50)
    assert test.bound == pytest.approx(0.05 ** (1 / 50))


def test_a_single_victim_has_the_error_of_its_samples():
    found = made(0.6, num_victims=1)
    test = answer(Question("auc", 0.7), found)
    error = np.sqrt((found.influence**2).sum())
    assert test.method == T and test.freedom is None and test.error == pytest.approx(error)
    assert test.p_value == pytest.approx(scipy.stats.norm.cdf((found.values[0] - 0.7) / error))


def test_an_accuracy_of_one_victim_near_one_draws_the_same_replicates_each_time():
    correct = np.ones((1, 300), dtype=bool)
    correct[0, :2] = False
    found = rate_influence(correct, np.ones_like(correct), np.zeros_like(correct)).fpr
    test = answer(Question("test_accuracy", 0.95, seed=3), found)
    assert (
        test.method == PERCENTILE
        and test.p_value < 0.05
        and test == answer(Question("test_accuracy", 0.95, seed=3), found)
    )


def test_a_rate_of_nearly_zero_is_not_shown_by_a_tiny_error_alone():
    found = made(0.0, spread=0.01)
    test = answer(Question("tpr_at_1%_fpr", 0.02), found)
    assert 0 < test.p_value < 1 and test.bound > test.value


def test_without_a_figure_the_limit_counts_as_broken():
    nothing = PerVictim(np.full(3, np.nan), np.full((3, 10), np.nan))
    for test in (answer(Question("auc", 0.6), nothing), unanswered(Question("auc", 0.6), "too few")):
        assert test.p_value == 1 and test.value is None and test.suppressed
    assert answer(Question("auc"), made(0.6)).p_value is None


@given(
    st.floats(0.0, 1.0),
    st.floats(0.01, 0.99) | st.none(),
    st.floats(0.0, 0.1),
    st.sampled_from(["auc", "test_accuracy"]),
    st.integers(1, 4),
)
def test_whatever_is_answered_follows_from_its_own_figures(mean, limit, spread, figure, num_victims):
    test = answer(Question(figure, limit, num_trials=100), made(mean, spread, num_victims))
    assert follows(test, 0.05)
    assert follows(LimitTest.model_validate_json(test.model_dump_json()), 0.05)
    assert follows(unanswered(Question(figure, limit), "why"), 0.05)
    if test.p_value is not None and test.error and test.value > 1e-3:  # smaller changes are rounding
        assert not follows(test.model_copy(update={"bound": 0.5 * test.value}), 0.05) or figure == "test_accuracy"
        if test.p_value > 0.01:
            assert not follows(test.model_copy(update={"p_value": test.p_value / 2}), 0.05)
