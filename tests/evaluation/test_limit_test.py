"""Tests of a figure against its limit: p-values and bounds agree, mirror for accuracies, and are exact at a bound."""

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.evaluation.limit_test import PERCENTILE, Question, T, answer, unanswered
from pruneaudit.metrics import PerVictim, Replicated, bootstrap_tpr, mean_of, rate_influence


def made(mean, spread=0.02, num_victims=8, num_samples=300, seed=0):
    """Values and influence of a figure of every victim."""
    rng = np.random.default_rng(seed)
    influence = rng.normal(size=(num_victims, num_samples)) * spread / np.sqrt(num_samples)
    return PerVictim(np.clip(mean + rng.normal(size=num_victims) * spread, 0, 1), influence)


def test_the_t_form():
    found = made(0.6)
    estimate = mean_of(found)
    test = answer(Question("auc", 0.65), found)
    assert test.method == T
    assert test.p_value == pytest.approx(
        scipy.stats.t.cdf((estimate.value - 0.65) / estimate.std_error, estimate.freedom)
    )
    assert test.bound == pytest.approx(estimate.value + scipy.stats.t.ppf(0.95, estimate.freedom) * estimate.std_error)
    assert test.margin == pytest.approx((0.65 - estimate.value) / estimate.std_error)


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


def test_near_zero_the_percentile_counts_too():
    rng = np.random.default_rng(1)
    member = rng.random((6, 800)) < 0.5
    scores = rng.normal(size=(6, 800)) - member
    tpr, replicates = bootstrap_tpr(scores, member, [0.02], 200, np.random.default_rng(2))
    found = Replicated(tpr[:, 0], replicates[..., 0])
    test = answer(Question("tpr_at_2%_fpr", 0.01), found)
    estimate = mean_of(found)
    assert test.method == PERCENTILE
    assert test.p_value >= scipy.stats.t.cdf((estimate.value - 0.01) / estimate.std_error, estimate.freedom)
    assert answer(Question("tpr_at_2%_fpr", 0.01), found) == test, "the same replicates each time"


def test_without_any_spread_at_a_bound_the_limit_is_exact():
    valid = np.ones((3, 50), dtype=bool)
    found = rate_influence(valid, valid, np.zeros((3, 50), dtype=bool)).fpr
    test = answer(Question("test_accuracy", 0.9, num_trials=50), found)
    assert test.value == 1 and test.p_value == pytest.approx(0.9**50)
    assert test.bound == pytest.approx(0.05 ** (1 / 50))


def test_a_single_victim_has_the_error_of_its_samples():
    found = made(0.6, num_victims=1)
    test = answer(Question("auc", 0.7), found)
    assert test.freedom is None and test.error == pytest.approx(np.sqrt((found.influence**2).sum()))


def test_without_a_figure_the_limit_counts_as_broken():
    nothing = PerVictim(np.full(3, np.nan), np.full((3, 10), np.nan))
    for test in (answer(Question("auc", 0.6), nothing), unanswered(Question("auc", 0.6), "too few")):
        assert test.p_value == 1 and test.value is None and test.suppressed
    assert answer(Question("auc"), made(0.6)).p_value is None
