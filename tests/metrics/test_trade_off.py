"""Trade-off curves from pairs of epsilon and delta, and what they allow, beside naive programs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pruneaudit.metrics import one_run_gaussian_epsilon
from pruneaudit.metrics.one_run_gaussian import mu_of
from pruneaudit.metrics.trade_off import curve_of, is_refuted

DELTA = 1e-5


def gaussian_delta(epsilon, mu):
    return stats.norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * stats.norm.cdf(-mu / 2 - epsilon / mu)


def naive(pairs, a):
    """f(a), as it is written."""
    return max(max(0, 1 - d - math.exp(e) * a, math.exp(-e) * (1 - d - a)) for e, d in pairs)


@given(
    pairs=st.lists(st.tuples(st.floats(0, 8), st.floats(0, 1)), min_size=1, max_size=6),
    r=st.floats(0, 1),
)
def test_it_is_the_definition(pairs, r):
    assert curve_of(*zip(*pairs, strict=True))(r) == pytest.approx(naive(pairs, 1 - r), abs=1e-9)


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_from_all_pairs_of_a_gaussian_mechanism_it_is_its_curve_and_never_above(mu):
    epsilons = np.linspace(0, 12 * mu + mu**2, 4001)
    curve = curve_of(epsilons, [gaussian_delta(epsilon, mu) for epsilon in epsilons])
    for r in (1e-4, 0.01, 0.2, 0.7, 0.99):
        truth = stats.norm.cdf(stats.norm.ppf(r) - mu)
        assert truth * (1 - 2e-3) - 1e-9 <= curve(r) <= truth + 1e-12


def test_it_refutes_what_the_gaussian_curve_refutes():
    """The recursion with the curve of pairs, at epsilons a little below and above the bound of two other programs."""
    for m, g, c, bound in ((1000, 100, 95, 3.323), (1000, 1000, 600, 0.584)):
        assert one_run_gaussian_epsilon(m, g, c, DELTA) == pytest.approx(bound, abs=1e-3)
        for epsilon, expected in ((bound - 0.05, True), (bound + 0.05, False)):
            mu = mu_of(epsilon, DELTA)
            epsilons = np.linspace(0, 12 * mu + mu**2, 2001)
            curve = curve_of(epsilons, [gaussian_delta(value, mu) for value in epsilons])
            assert is_refuted(m, g, c, curve, 0.05) == expected


def test_no_privacy_refutes_nothing_and_perfect_privacy_is_refuted_by_luck_that_is_rare_enough():
    assert not is_refuted(100, 100, 100, lambda r: 0.0, 0.05)
    identity = curve_of([0.0], [0.0])  # f(a) = 1 - a: guesses are coins
    assert is_refuted(100, 100, 80, identity, 0.05)
    assert not is_refuted(100, 100, 55, identity, 0.05)
