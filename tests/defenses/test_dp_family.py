"""The joint epsilon of several trainings, against Opacus step by step and against integrals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp
from scipy.stats import norm

from pruneaudit.defenses._dp_accounting import PRV_UP_TO, Account
from pruneaudit.defenses._dp_family import PrivateTraining, joint_epsilon, joint_history

DELTA = 1e-5
PARENT = PrivateTraining(1.0, 0.01, 3000, "parent")


def children(number: int, batches: str = "child {}") -> list[PrivateTraining]:
    return [PrivateTraining(1.0, 0.01, 600, batches.format(child)) for child in range(number)]


def epsilon(trainings: list[PrivateTraining], accountant: str = "rdp", delta: float = DELTA) -> float:
    return joint_epsilon([joint_history(trainings)], delta, accountant)[0]


@pytest.mark.parametrize(("name", "accountant"), [("rdp", RDPAccountant), ("prv", PRVAccountant)])
def test_trainings_with_batches_of_their_own_are_one_long_training(name, accountant):
    trainings = [
        PrivateTraining(1.1, 0.05, 7, "a"),
        PrivateTraining(0.9, 0.05, 4, "b"),
        PrivateTraining(1.1, 0.05, 5, "c"),
        PrivateTraining(1.1, 0.2, 3, "d"),
    ]
    naive = accountant()
    for training in trainings:
        for _ in range(training.steps):
            naive.step(noise_multiplier=training.noise_multiplier, sample_rate=training.sample_rate)
    assert epsilon(trainings, name) == pytest.approx(naive.get_epsilon(delta=DELTA), rel=1e-3)


@pytest.mark.parametrize(("number", "rdp"), [(0, 3.51), (1, 3.86), (2, 4.18), (4, 4.78), (8, 5.85)])
def test_a_parent_and_its_children(number, rdp):
    found = epsilon([PARENT, *children(number)])
    assert found == pytest.approx(rdp, abs=0.006)
    one = epsilon(children(1))
    assert found <= epsilon([PARENT]) + number * one  # basic composition
    if number == 8:
        assert round(epsilon([PARENT]) + number * one, 1) == 17.5


@pytest.mark.slow
@pytest.mark.parametrize(("number", "prv"), [(0, 3.20), (1, 3.53), (4, 4.39), (8, 5.39)])
def test_the_same_by_privacy_random_variables(number, prv):
    assert epsilon([PARENT, *children(number)], "prv") == pytest.approx(prv, abs=0.006)


def test_the_same_batches_give_one_step_with_the_noise_of_a_mean():
    assert joint_history(children(4, "same")) == [(0.5, 0.01, 600)]
    longer, noisier = PrivateTraining(1.0, 0.01, 1000, "same"), PrivateTraining(2.0, 0.02, 700, "same")
    assert joint_history([*children(2, "same"), longer, noisier]) == [
        (pytest.approx((3 + 1 / 4) ** -0.5), 0.02, 600),
        (pytest.approx((1 + 1 / 4) ** -0.5), 0.02, 100),
        (1.0, 0.01, 300),
    ]
    assert epsilon([PARENT, *children(4, "same")]) > 2 * epsilon([PARENT, *children(4)])


def divergence_from_noise(density: Callable[[np.ndarray, np.ndarray], np.ndarray], order: int) -> float:
    """The Renyi divergence of a density in the plane from standard normal noise, on a fine grid."""
    x = np.linspace(-9, 16, 2001)
    noise = norm.pdf(x[:, None]) * norm.pdf(x)
    moment = np.trapezoid(np.trapezoid((density(x[:, None], x[None]) / noise) ** order * noise, x), x)
    return float(math.log(moment) / (order - 1))


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("noises", [(1.0, 1.0), (0.8, 2.0)])
def test_two_noisy_sums_of_one_batch_have_the_divergence_of_one_sum(order, noises):
    rate, shift = 0.1, (1 / noises[0], 1 / noises[1])

    def with_sample(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (1 - rate) * norm.pdf(x) * norm.pdf(y) + rate * norm.pdf(x - shift[0]) * norm.pdf(y - shift[1])

    divergence = divergence_from_noise(with_sample, order)
    ((joint, _, _),) = joint_history([PrivateTraining(noise, rate, 1, "same") for noise in noises])
    expected = compute_rdp(q=rate, noise_multiplier=joint, steps=1, orders=[order])
    assert divergence == pytest.approx(float(np.ravel(expected)[0]), rel=1e-5)


@pytest.mark.parametrize("order", [2, 4])
def test_a_smaller_rate_counts_as_the_larger_one(order):
    small, large, shift = 0.05, 0.15, (1.0, 0.8)

    def with_sample(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        second = norm.pdf(y - shift[1])
        both, only_second = norm.pdf(x - shift[0]) * second, norm.pdf(x) * second
        return (1 - large) * norm.pdf(x) * norm.pdf(y) + (large - small) * only_second + small * both

    divergence = divergence_from_noise(with_sample, order)
    ((joint, rate, _),) = joint_history(
        [PrivateTraining(1 / shift[0], small, 1, "same"), PrivateTraining(1 / shift[1], large, 1, "same")]
    )
    bound = float(np.ravel(compute_rdp(q=rate, noise_multiplier=joint, steps=1, orders=[order]))[0])
    apart = sum(
        float(np.ravel(compute_rdp(q=q, noise_multiplier=1 / s, steps=1, orders=[order]))[0])
        for q, s in zip((small, large), shift, strict=True)
    )
    assert apart < divergence <= bound


def test_steps_with_the_same_batches_break_the_sum_of_their_own_accounts():
    """The exact delta of eight children's first step: above delta at the epsilon of independent batches."""
    number, rate = 8, 0.01
    step = [PrivateTraining(1.0, rate, 1, "same") for _ in range(number)]
    apart = joint_epsilon([[(1.0, rate, number)]], DELTA, "prv")[0]
    together = epsilon(step, "prv")
    x = np.linspace(-12, 20, 400_001)
    without, moved = norm.pdf(x), norm.pdf(x - math.sqrt(number))  # along the direction of all eight sums
    with_sample = (1 - rate) * without + rate * moved

    def exact_delta(epsilon: float) -> float:
        return float(np.trapezoid(np.maximum(with_sample - math.exp(epsilon) * without, 0), x))

    assert exact_delta(apart) > 10 * DELTA
    assert exact_delta(together) <= 1.05 * DELTA


TRAININGS = st.builds(
    PrivateTraining,
    st.sampled_from([0.7, 1.0, 2.5]),
    st.sampled_from([0.01, 0.1, 1.0]),
    st.integers(1, 40),
    st.sampled_from(["a", "b", "c"]),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(TRAININGS, min_size=1, max_size=4), TRAININGS, st.randoms(use_true_random=False))
def test_a_further_training_never_costs_less_than_nothing_and_order_does_not_matter(trainings, further, random):
    alone, more = epsilon(trainings), epsilon([*trainings, further])
    assert more >= alone - 1e-9
    shuffled = [*trainings, further]
    random.shuffle(shuffled)
    assert epsilon(shuffled) == pytest.approx(more, rel=1e-12)
    assert epsilon(shuffled, delta=1e-6) >= more
    counts = sum(steps for *_, steps in joint_history(shuffled))
    assert counts <= sum(training.steps for training in shuffled)


def test_the_largest_of_several_models_is_exact_though_few_are_computed():
    histories = [[(1.0, 0.01 + m / 10_000, 500 - m // 3)] for m in range(8)]
    every = [Account(DELTA, "rdp", history).spent()[0] for history in histories]
    assert joint_epsilon(histories, DELTA, "rdp") == (max(every), "rdp")
    assert joint_epsilon([[], []], DELTA, "prv") == (0.0, "prv")


def test_above_the_limit_of_prv_it_is_rdp():
    found, accountant = joint_epsilon([[(0.3, 0.5, 300)]], DELTA, "prv")
    assert found > PRV_UP_TO
    assert accountant == "rdp"
