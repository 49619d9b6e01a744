"""The bound on epsilon with the accountant's curve, beside curves that are known and a simulated DP-SGD."""

import math

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("opacus")

from pruneaudit.defenses._dp_accounting import Account
from pruneaudit.defenses._dp_curve import DpSgdBound, _accounted
from pruneaudit.metrics import guess_canaries, one_run_gaussian_epsilon

DELTA = 1e-5
GAUSSIAN = DpSgdBound((1.0, 1.0), (1, 1))
"""One step on all samples."""


def test_pairs_are_upper_bounds_of_delta_and_the_epsilon_is_a_lower_one():
    mu = 1.25
    epsilons, deltas, lower = _accounted(1 / mu, 1.0, 1, DELTA)
    truth = stats.norm.cdf(mu / 2 - epsilons / mu) - np.exp(epsilons) * stats.norm.cdf(-mu / 2 - epsilons / mu)
    assert (deltas >= truth).all()
    near = np.interp(epsilons - 0.04, epsilons, truth)  # what errors of the accountant of twice 0.02 explain
    assert (deltas[10:] <= near[10:] + 2e-8).all()
    account = Account(DELTA, "prv", [(1 / mu, 1.0, 1)])
    assert account.spent()[0] - 0.1 < lower < account.spent()[0]


@pytest.mark.parametrize(("m", "g", "c"), [(1000, 100, 95), (1000, 200, 160), (1000, 1000, 600)])
def test_one_step_on_all_samples_is_the_gaussian_bound_rounded_down(m, g, c):
    exact = one_run_gaussian_epsilon(m, g, c, DELTA)
    assert 0.93 * exact - 0.05 < GAUSSIAN(m, g, c, DELTA, 0.05) <= exact


@pytest.mark.slow
def test_what_refutes_nothing_gives_0_and_a_wider_range_gives_no_more():
    assert GAUSSIAN(1000, 100, 50, DELTA, 0.05) == 0
    narrow, wide = DpSgdBound((0.1, 0.1), (50, 50)), DpSgdBound((0.09, 0.11), (50, 50))
    assert 0 < wide(200, 40, 36, DELTA, 0.05) < narrow(200, 40, 36, DELTA, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_it_exceeds_the_epsilon_of_dp_sgd_in_at_most_5_percent(noise):
    """Each canary alone in a direction: in every step it is drawn with a probability of q, and noise is added."""
    rng, m, k, rate, steps = np.random.default_rng(0), 500, 60, 0.2, 30
    truth = Account(DELTA, "prv", [(noise, rate, steps)]).spent()[0]
    bound, found = DpSgdBound((rate, rate), (steps, steps)), []
    for _ in range(300):
        included = rng.random(m) < 0.5
        seen = included * (rng.random((steps, m)) < rate) + noise * rng.normal(size=(steps, m))
        scores = np.log1p(rate * np.expm1((2 * seen - 1) / (2 * noise**2))).sum(axis=0)  # the likelihood ratio
        guessed = guess_canaries(scores, included, k, k)
        found.append((bound(m, *guessed, DELTA, 0.05), one_run_gaussian_epsilon(m, *guessed, DELTA)))
    exceeded = (np.array(found) > truth).sum(axis=0)
    print(f"epsilon {truth:.2f}: mean {np.mean(found, axis=0).round(2)}, above the truth {exceeded} of 300")
    assert exceeded[0] <= 28
    assert not math.isnan(np.mean(found))
