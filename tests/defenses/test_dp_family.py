"""The joint epsilon of several trainings, against Opacus step by step and against an integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.stats import norm

from pruneaudit.defenses._dp_accounting import PRV_UP_TO, Account, Spending
from pruneaudit.defenses._dp_family import joint_epsilon, joint_history

DELTA = 1e-5
PARENT = (1.0, 0.01, 3000)
CHILD = (1.0, 0.01, 600)


def epsilon(trainings: list[Spending], accountant: str = "rdp", delta: float = DELTA) -> float:
    return joint_epsilon([joint_history(trainings)], delta, accountant)[0]


@pytest.mark.parametrize(("name", "accountant"), [("rdp", RDPAccountant), ("prv", PRVAccountant)])
def test_several_trainings_are_one_long_training(name, accountant):
    trainings = [(1.1, 0.05, 7), (0.9, 0.05, 4), (1.1, 0.05, 5), (1.1, 0.2, 3)]
    naive = accountant()
    for noise_multiplier, sample_rate, steps in trainings:
        for _ in range(steps):
            naive.step(noise_multiplier=noise_multiplier, sample_rate=sample_rate)
    assert epsilon(trainings, name) == pytest.approx(naive.get_epsilon(delta=DELTA), rel=1e-3)


@pytest.mark.parametrize(("number", "rdp"), [(0, 3.51), (1, 3.86), (2, 4.18), (4, 4.78), (8, 5.85)])
def test_a_parent_and_its_children(number, rdp):
    found = epsilon([PARENT, *[CHILD] * number])
    assert found == pytest.approx(rdp, abs=0.006)
    one = epsilon([CHILD])
    assert found <= epsilon([PARENT]) + number * one  # basic composition
    if number == 8:
        assert round(epsilon([PARENT]) + number * one, 1) == 17.5


@pytest.mark.slow
@pytest.mark.parametrize(("number", "prv"), [(0, 3.20), (1, 3.53), (4, 4.39), (8, 5.39)])
def test_the_same_by_privacy_random_variables(number, prv):
    assert epsilon([PARENT, *[CHILD] * number], "prv") == pytest.approx(prv, abs=0.006)


def exact_delta(density: np.ndarray, noise: np.ndarray, places: np.ndarray, epsilon: float) -> float:
    """The delta of a density in the plane against another one, both ways."""

    def above(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.trapezoid(np.trapezoid(np.maximum(one - math.exp(epsilon) * other, 0), places), places))

    return max(above(density, noise), above(noise, density))


def test_it_bounds_the_exact_delta_of_independent_batches_and_not_that_of_the_same():
    """Two trainings of one step each, with every direction of both sums taken by one sample."""
    rate, places = 0.1, np.linspace(-9, 12, 2101)
    without, moved = norm.pdf(places), norm.pdf(places - 1)
    one = (1 - rate) * without + rate * moved
    noise, apart = np.outer(without, without), np.outer(one, one)
    together = (1 - rate) * noise + rate * np.outer(moved, moved)  # the sample is in both batches or in none
    found = epsilon([(1.0, rate, 1)] * 2, "prv")
    assert 0.7 * DELTA < exact_delta(apart, noise, places, found) <= 1.05 * DELTA
    assert exact_delta(together, noise, places, found) > 3 * DELTA


TRAININGS = st.tuples(st.sampled_from([0.7, 1.0, 2.5]), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 40))


@settings(max_examples=12, deadline=None)
@given(st.lists(TRAININGS, min_size=1, max_size=4), TRAININGS, st.randoms(use_true_random=False))
def test_a_further_training_never_costs_less_than_nothing_and_order_does_not_matter(trainings, further, random):
    alone, more = epsilon(trainings), epsilon([*trainings, further])
    assert more >= alone - 1e-9
    shuffled = [*trainings, further]
    random.shuffle(shuffled)
    assert epsilon(shuffled) == pytest.approx(more, rel=1e-12)
    assert epsilon(shuffled, delta=1e-6) >= more
    assert sum(steps for *_, steps in joint_history(shuffled)) == sum(steps for *_, steps in shuffled)


def test_the_largest_of_several_models_is_exact_though_few_are_computed():
    histories = [[(1.0, 0.01 + m / 10_000, 500 - m // 3)] for m in range(8)]
    every = [Account(DELTA, "rdp", history).spent()[0] for history in histories]
    assert joint_epsilon(histories, DELTA, "rdp") == (max(every), "rdp")
    assert joint_epsilon([[], []], DELTA, "prv") == (0.0, "prv")


def test_above_the_limit_of_prv_it_is_rdp():
    found, accountant = joint_epsilon([[(0.3, 0.5, 300)]], DELTA, "prv")
    assert found > PRV_UP_TO
    assert accountant == "rdp"
