"""Bounds on epsilon: published values, sums written out, and mechanisms whose epsilon is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import guess_canaries, many_run_epsilon, one_run_epsilon, one_run_over_grid

# m canaries

NUM_SIMULATIONS = 200
ACCEPTED = 21
"""Of 200 simulations at a nominal 5%: a one-sided binomial limit of 0.1%."""
SIZES = (0, 5, 10, 20, 40, 80, 120, 160, 200, 250)
GRID = [(top, bottom) for top in SIZES for bottom in SIZES if top + bottom]


def binomial_pmf(trials, successes, q):
    return math.comb(trials, successes) * q**successes * (1 - q) ** (trials - successes)


def p_value_by_hand(m, r, v, delta, epsilon):
    """The formula of the paper, every sum written out."""
    q = 1 / (1 + math.exp(-epsilon))
    beta = sum(binomial_pmf(r, j, q) for j in range(v, r + 1))
    excess = max(sum(binomial_pmf(r, j, q) for j in range(max(v - i, 0), v)) / i for i in range(1, m + 1))
    return min(1.0, beta + 2 * m * delta * excess)


@pytest.mark.parametrize(
    ("m", "r", "v", "expected"), [(1000, 1000, 600, 0.2975), (1000, 100, 95, 2.1724), (1000, 100, 100, 3.4930)]
)
def test_published_values(m, r, v, expected):
    assert one_run_epsilon(m, r, v) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("r", "v"), [(20, 20), (200, 130), (50_000, 30_000)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_without_delta_it_is_the_exact_binomial_limit(r, v, alpha):
    """The largest q that v of r refute is Clopper and Pearson's lower limit, a beta quantile."""
    q = stats.beta.ppf(alpha, v, r - v + 1)
    expected = max(0.0, math.log(q / (1 - q)))
    assert one_run_epsilon(100_000, r, v, alpha=alpha) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("m", "r", "v", "delta"), [(12, 12, 12, 1e-3), (30, 20, 19, 1e-4), (25, 25, 24, 1e-5), (40, 10, 10, 1e-3)]
)
def test_with_delta_it_stands_where_the_p_value_crosses_alpha(m, r, v, delta):
    found = one_run_epsilon(m, r, v, delta)
    assert found > 0
    assert p_value_by_hand(m, r, v, delta, found) < 0.05 <= p_value_by_hand(m, r, v, delta, found + 2e-6)
    assert found < one_run_epsilon(m, r, v)


@given(
    counts=st.integers(1, 40).flatmap(lambda r: st.tuples(st.integers(r, 80), st.just(r), st.integers(0, r - 1))),
    delta=st.sampled_from([0.0, 1e-5, 1e-3]),
)
def test_one_more_right_never_lowers_the_bound(counts, delta):
    m, r, v = counts
    assert one_run_epsilon(m, r, v, delta) <= one_run_epsilon(m, r, v + 1, delta) + 2e-6


@given(
    counts=st.integers(1, 40).flatmap(lambda r: st.tuples(st.integers(r, 80), st.just(r), st.integers(0, r))),
    delta=st.sampled_from([0.0, 1e-5, 1e-3]),
)
def test_nothing_below_the_bound_is_left_standing(counts, delta):
    m, r, v = counts
    found = one_run_epsilon(m, r, v, delta)
    for epsilon in np.linspace(0, found, 5)[: 5 if found else 0]:
        assert p_value_by_hand(m, r, v, delta, epsilon) < 0.05 + 1e-12
    if not found:
        assert p_value_by_hand(m, r, v, delta, 2e-6) >= 0.05 - 1e-12


def test_no_guess_and_no_right_guess_refute_nothing():
    assert one_run_epsilon(10, 0, 0) == 0
    assert one_run_epsilon(10, 10, 0) == 0
    assert one_run_epsilon(1000, 1000, 500) == 0


def test_guesses_are_the_two_ends():
    scores = np.array([0.1, 0.9, -np.inf, 0.5, np.inf, 0.3])
    included = np.array([False, True, True, False, True, False])
    assert guess_canaries(scores, included, 2, 0) == (2, 2)
    assert guess_canaries(scores, included, 3, 0) == (3, 2)
    assert guess_canaries(scores, included, 0, 2) == (2, 1)
    assert guess_canaries(scores, included, 3, 3) == (6, 4)


def test_ties_count_against_the_attacker():
    included = np.array([True, True, False, False])
    assert guess_canaries(np.zeros(4), included, 2, 2) == (4, 0)
    assert guess_canaries(np.zeros(4), included, 3, 0) == (3, 1)
    assert guess_canaries(np.array([1.0, 0, 0, 0]), included, 2, 1) == (3, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12), st.data())
def test_no_breaking_of_ties_finds_fewer(canaries, data):
    scores, included = (np.array(column) for column in zip(*canaries, strict=True))
    top = data.draw(st.integers(0, len(scores)))
    bottom = data.draw(st.integers(0, len(scores) - top))
    seed = data.draw(st.integers(0, 99))
    guesses, correct = guess_canaries(scores, included, top, bottom)
    assert guesses == top + bottom
    broken = scores + np.random.default_rng(seed).random(len(scores)) / 2
    assert correct <= guess_canaries(broken, included, top, bottom)[1]
    shuffled = np.random.default_rng(seed).permutation(len(scores))
    assert guess_canaries(scores[shuffled], included[shuffled], top, bottom)[1] == correct


def test_a_grid_pays_for_its_size():
    rng = np.random.default_rng(0)
    included = rng.random(1000) < 0.5
    scores = 1.5 * included + rng.normal(size=1000)
    alone, chosen = one_run_over_grid(scores, included, [(50, 50)])
    assert chosen == (50, 50)
    assert alone == one_run_epsilon(1000, *guess_canaries(scores, included, 50, 50))
    found, chosen = one_run_over_grid(scores, included, GRID)
    assert chosen in GRID
    each = [one_run_epsilon(1000, *guess_canaries(scores, included, *pair), alpha=0.05 / len(GRID)) for pair in GRID]
    assert found == max(each) == each[GRID.index(chosen)]
    assert found < max(one_run_epsilon(1000, *guess_canaries(scores, included, *pair)) for pair in GRID)


def test_a_grid_without_findings_gives_its_first_pair():
    assert one_run_over_grid(np.arange(8.0), np.arange(8) % 2 == 0, [(2, 2), (4, 4)]) == (0.0, (2, 2))


def test_many_runs_by_hand():
    """100 of 100 accused rightly, 0 of 100 wrongly: the limits are powers of alpha / 2."""
    limit = 0.025 ** (1 / 100)
    assert many_run_epsilon(100, 100, 0, 100) == pytest.approx(math.log(limit / (1 - limit)))
    tpr_low, fpr_high = stats.beta.ppf(0.025, 60, 41), stats.beta.ppf(0.975, 3, 198)
    assert many_run_epsilon(60, 100, 2, 200, 0.01) == pytest.approx(math.log((tpr_low - 0.01) / fpr_high))
    # The same errors with the roles exchanged: the other ratio gives the same bound.
    assert many_run_epsilon(198, 200, 40, 100, 0.01) == pytest.approx(math.log((tpr_low - 0.01) / fpr_high))


def test_many_runs_that_show_nothing():
    assert many_run_epsilon(5, 10, 5, 10) == 0
    assert many_run_epsilon(0, 10, 10, 10) == 0
    assert many_run_epsilon(10, 10, 0, 10, delta=0.99) == 0


@given(st.integers(1, 50), st.integers(0, 49), st.sampled_from([0.0, 0.01]))
def test_many_runs_one_more_hit_never_lowers_the_bound(num_runs, hits, delta):
    hits = min(hits, num_runs - 1)
    low, high = (many_run_epsilon(count, num_runs, 2, 60, delta) for count in (hits, hits + 1))
    assert low <= high


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: one_run_epsilon(0, 0, 0), ["num_canaries", "0", "at least 1"]),
        (lambda: one_run_epsilon(10, 11, 5), ["num_guesses", "11", "num_canaries (10)"]),
        (lambda: one_run_epsilon(10, 5, 6), ["num_correct", "6", "num_guesses (5)"]),
        (lambda: one_run_epsilon(10, 5, 2.5), ["num_correct", "2.5", "whole"]),
        (lambda: one_run_epsilon(10, 5, True), ["num_correct", "True", "whole"]),
        (lambda: one_run_epsilon(10, 5, 5, delta=1.0), ["delta", "1.0"]),
        (lambda: one_run_epsilon(10, 5, 5, alpha=0.0), ["alpha", "0.0"]),
        (lambda: one_run_epsilon(10, 5, 5, alpha=float("nan")), ["alpha", "nan"]),
        (lambda: guess_canaries([1.0, np.nan], [True, False], 1, 0), ["1 NaN", "every canary"]),
        (lambda: guess_canaries([[1.0], [2.0]], [[True], [False]], 1, 0), ["(2, 1)", "one model"]),
        (lambda: guess_canaries([1.0, 2.0], [1, 0], 1, 0), ["bool"]),
        (lambda: guess_canaries([1.0, 2.0], [True], 1, 0), ["shape"]),
        (lambda: guess_canaries([1.0, 2.0], [True, False], 2, 1), ["num_negative", "1", "(0)"]),
        (lambda: guess_canaries([1.0, 2.0], [True, False], -1, 1), ["num_positive", "-1"]),
        (lambda: one_run_over_grid([1.0, 2.0], [True, False], []), ["grid"]),
        (lambda: many_run_epsilon(5, 4, 0, 4), ["true_positives", "5", "positives (4)"]),
        (lambda: many_run_epsilon(0, 0, 0, 4), ["positives", "0"]),
        (lambda: many_run_epsilon(1, 4, 0, 4, delta=-0.1), ["delta", "-0.1"]),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(UserError) as suppressed:
        call()
    for word in words:
        assert word in str(suppressed.value)


def test_no_leak_no_bound_unless_the_best_of_a_grid_is_taken():
    rng = np.random.default_rng(0)
    fixed = corrected = uncorrected = 0
    for _ in range(NUM_SIMULATIONS):
        included, scores = rng.random(500) < 0.5, rng.normal(size=500)
        fixed += one_run_epsilon(500, *guess_canaries(scores, included, 100, 100)) > 0
        corrected += one_run_over_grid(scores, included, GRID)[0] > 0
        uncorrected += any(one_run_epsilon(500, *guess_canaries(scores, included, *pair)) > 0 for pair in GRID)
    print(f"claims without a leak: fixed {fixed}, Bonferroni {corrected}, uncorrected {uncorrected} of 200")
    assert fixed <= ACCEPTED
    assert corrected <= ACCEPTED
    assert uncorrected > 2 * ACCEPTED


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_randomised_response_is_found_out_and_not_slandered(epsilon):
    """Every canary's coin is told truly with probability e^eps / (1 + e^eps): eps-DP, and no guess does better."""
    rng = np.random.default_rng(1)
    bounds = []
    for _ in range(NUM_SIMULATIONS):
        included = rng.random(2000) < 0.5
        told = included ^ (rng.random(2000) > 1 / (1 + math.exp(-epsilon)))
        scores = told + rng.random(2000) / 2  # what breaks the ties is blind
        bounds.append(one_run_epsilon(2000, *guess_canaries(scores, included, 800, 800)))
    print(f"epsilon {epsilon}: mean bound {np.mean(bounds):.3f}, above it {np.sum(np.array(bounds) > epsilon)} of 200")
    assert np.sum(np.array(bounds) > epsilon) <= ACCEPTED
    assert np.mean(bounds) > 0.8 * epsilon


@pytest.mark.slow
@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 0.0), (1.0, 0.05), (3.0, 0.0)])
def test_many_runs_of_a_mechanism_with_known_epsilon(epsilon, delta):
    """With probability delta the coin is told openly, otherwise by randomised response."""
    rng = np.random.default_rng(2)
    truth = 1 / (1 + math.exp(-epsilon))
    right = delta + (1 - delta) * truth
    hits = rng.binomial(2000, right, NUM_SIMULATIONS)
    alarms = rng.binomial(2000, 1 - right, NUM_SIMULATIONS)
    bounds = np.array(
        [many_run_epsilon(hit, 2000, alarm, 2000, delta) for hit, alarm in zip(hits, alarms, strict=True)]
    )
    print(f"epsilon {epsilon}, delta {delta}: mean bound {bounds.mean():.3f}, above it {np.sum(bounds > epsilon)}")
    assert np.sum(bounds > epsilon) <= ACCEPTED
    assert bounds.mean() > 0.8 * epsilon
