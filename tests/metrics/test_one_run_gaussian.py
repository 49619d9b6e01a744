"""The one-run bound for Gaussian trade-off curves: known values, properties, mechanisms with a known epsilon."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import (
    guess_canaries,
    one_run_by_halves,
    one_run_epsilon,
    one_run_gaussian_epsilon,
    one_run_over_grid,
)
from pruneaudit.metrics.one_run_gaussian import mu_of

# m canaries

NUM_SIMULATIONS, ACCEPTED = 300, 28
"""Simulations at a nominal 5%, and the most that may exceed the truth: a one-sided binomial limit of 0.1%."""
DELTA = 1e-5


@pytest.mark.parametrize(
    ("m", "g", "c", "expected"),
    [
        (1000, 1000, 600, 0.584),
        (1000, 100, 95, 3.323),
        (1000, 100, 100, 5.549),
        (5000, 500, 450, 2.776),
        (1000, 200, 160, 1.729),
    ],
)
def test_values_of_two_other_programs(m, g, c, expected):
    assert one_run_gaussian_epsilon(m, g, c, DELTA) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0])
def test_mu_is_that_of_the_gaussian_curve(mu):
    """Epsilon by the definition: delta is the largest excess of the one error rate over e^epsilon times the other."""
    thresholds = np.linspace(-12, 12, 200_001)
    epsilon = 0.7
    excess = stats.norm.sf(thresholds - mu) - math.exp(epsilon) * stats.norm.sf(thresholds)
    assert mu_of(epsilon, float(excess.max())) == pytest.approx(mu, rel=1e-4)


@given(counts=st.tuples(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400)).map(sorted))
def test_one_more_right_never_lowers_the_bound(counts):
    correct, guesses, canaries = counts
    if correct < guesses and canaries:
        low, high = (one_run_gaussian_epsilon(canaries, guesses, right, DELTA) for right in (correct, correct + 1))
        assert low <= high + 1e-4


@given(guesses=st.integers(1, 200), share=st.floats(0, 1))
def test_from_the_same_guesses_it_is_never_far_below_the_bound_for_every_mechanism(guesses, share):
    correct = round(share * guesses)
    assert (
        one_run_gaussian_epsilon(200, guesses, correct, DELTA)
        >= 0.9 * one_run_epsilon(200, guesses, correct, DELTA) - 0.02
    )


def test_what_refutes_nothing_gives_0():
    assert one_run_gaussian_epsilon(100, 0, 0) == 0
    assert one_run_gaussian_epsilon(100, 100, 50) == 0


def test_a_delta_of_0_and_counts_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="delta: got 0"):
        one_run_gaussian_epsilon(100, 50, 40, delta=0.0)
    with pytest.raises(UserError, match="num_correct: got 60"):
        one_run_gaussian_epsilon(100, 50, 60)


SHARES = [(top, bottom) for top in (0, 0.02, 0.05, 0.1, 0.2) for bottom in (0, 0.02, 0.05, 0.1, 0.2) if top + bottom]


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.0, 2.0, 4.4, 10.0])
def test_thresholds_of_the_other_half_exceed_the_truth_in_at_most_5_percent(epsilon):
    rng, m = np.random.default_rng(1), 600
    found = []
    for _ in range(NUM_SIMULATIONS):
        included = rng.random(m) < 0.5
        scores = included * (mu_of(epsilon, DELTA) if epsilon else 0.0) + rng.normal(size=m)
        chooses = rng.permutation(m) < m // 2
        given = scores, included, SHARES, chooses, DELTA, 0.05
        found.append([one_run_by_halves(*given, bound)[0] for bound in (one_run_epsilon, one_run_gaussian_epsilon)])
    exceeded = (np.array(found) > epsilon).sum(axis=0)
    print(f"epsilon {epsilon}: mean {np.mean(found, axis=0).round(2)}, above the truth {exceeded} of {NUM_SIMULATIONS}")
    assert (exceeded <= ACCEPTED).all()


def test_the_half_that_chooses_gives_nothing_but_the_number_of_guesses():
    rng = np.random.default_rng(0)
    included, chooses = rng.random(400) < 0.5, rng.permutation(400) < 200
    scores = included + 0.5 * rng.normal(size=400)
    bound, guesses, correct = one_run_by_halves(
        scores, included, SHARES, chooses, DELTA, 0.05, one_run_gaussian_epsilon
    )
    pairs = [(int(top * 200), int(bottom * 200)) for top, bottom in SHARES]
    half = scores[chooses], included[chooses]
    best = max(pairs, key=lambda pair: one_run_gaussian_epsilon(200, *guess_canaries(*half, *pair), DELTA))
    assert (guesses, correct) == guess_canaries(scores[~chooses], included[~chooses], *best)
    assert bound == one_run_gaussian_epsilon(200, guesses, correct, DELTA)
    with pytest.raises(UserError, match="chooses: got 400 of 400"):
        one_run_by_halves(scores, included, SHARES, np.ones(400, bool))


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [2.0, 4.4, 10.0])
def test_it_exceeds_the_epsilon_of_a_gaussian_mechanism_in_at_most_5_percent(epsilon):
    rng, m, k = np.random.default_rng(0), 1000, 100
    scale = 1 / mu_of(epsilon, DELTA)
    found = []
    for _ in range(NUM_SIMULATIONS):
        included = rng.random(m) < 0.5
        scores = included + scale * rng.normal(size=m)
        guessed = guess_canaries(scores, included, k, k)
        bounds = [bound(m, *guessed, DELTA) for bound in (one_run_epsilon, one_run_gaussian_epsilon)]
        found.append(bounds)
    general, gaussian = np.mean(found, axis=0)
    exceeded = int((np.array(found)[:, 1] > epsilon).sum())
    print(f"epsilon {epsilon}: mean {general:.2f} and {gaussian:.2f}, above the truth {exceeded} of {NUM_SIMULATIONS}")
    assert exceeded <= ACCEPTED
    assert gaussian > 1.2 * general


def test_a_grid_takes_either_bound():
    rng = np.random.default_rng(0)
    included = rng.random(500) < 0.5
    scores, grid = included + 0.7 * rng.normal(size=500), [(50, 50), (100, 100)]
    by_hand = [
        one_run_gaussian_epsilon(500, *guess_canaries(scores, included, *pair), DELTA, 0.05 / 2) for pair in grid
    ]
    best, pair = one_run_over_grid(scores, included, grid, DELTA, bound=one_run_gaussian_epsilon)
    assert (best, pair) == (max(by_hand), grid[int(np.argmax(by_hand))])
