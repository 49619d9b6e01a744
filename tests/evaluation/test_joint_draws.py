"""Joint draws have the covariance of the intervals over samples and models, and tails that cover."""

import numpy as np
import pytest

from pruneaudit.evaluation.candidates import at_equal_accuracy
from pruneaudit.evaluation.envelope import against_envelope
from pruneaudit.evaluation.joint_draws import joint_draws
from pruneaudit.metrics import PerVictim, two_way


def figure(rng, num_victims, num_samples, by_sample, by_model, by_both):
    """A mean over samples whose terms have three parts: of the sample, of the model, and of the pair."""
    terms = by_sample * rng.standard_normal(num_samples) + by_both * rng.standard_normal((num_victims, num_samples))
    terms = terms + by_model * rng.standard_normal((num_victims, 1))
    about = terms - terms.mean(axis=1, keepdims=True)
    return PerVictim(terms.mean(axis=1), about / np.sqrt(num_samples * (num_samples - 1)))


def test_the_spread_is_that_of_the_two_way_interval():
    rng = np.random.default_rng(0)
    found = figure(rng, 40, 300, 1.0, 0.05, 1.0)
    draws = joint_draws([found, found], 200_000, rng)
    assert np.allclose(draws[:, 0], draws[:, 1])  # equal figures stay equal
    own = two_way(*found, bounds=(-9, 9))
    # The part of the models has a t distribution with 39 degrees of freedom: variance x 39 / 37.
    assert draws.mean() == pytest.approx(own.value, abs=5e-4)
    assert draws[:, 0].std() == pytest.approx(own.std_error, rel=0.04)


def test_one_victim_varies_over_samples_alone():
    rng = np.random.default_rng(1)
    found = figure(rng, 1, 200, 1.0, 0.0, 0.0)
    draws = joint_draws([found], 100_000, rng)
    assert draws.std() == pytest.approx(np.sqrt((found.influence**2).sum()), rel=0.02)


def test_a_shared_sample_effect_cancels_in_a_difference():
    rng = np.random.default_rng(2)
    first = figure(rng, 20, 300, 1.0, 0.0, 0.1)
    second = PerVictim(first.values + 0.1, first.influence)
    draws = joint_draws([first, second], 10_000, rng)
    assert np.allclose(draws[:, 1] - draws[:, 0], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_coverage_of_the_envelope_far_out(alpha):
    """One candidate, clearly more accurate: the difference is of two means, whose truth is 0. `-rP` prints the rate."""
    missed, num = 0, 600
    for seed in range(num):
        rng = np.random.default_rng(seed)
        shared = figure(rng, 16, 200, 1.0, 0.02, 0.5)
        areas = [
            PerVictim(*(a + b for a, b in zip(shared, figure(rng, 16, 200, 0.3, 0.03, 0.3), strict=True))) for _ in "ab"
        ]
        accuracies = [PerVictim(each, np.zeros((16, 200))) for each in (np.full(16, 9.0), np.full(16, 5.0))]
        draws = joint_draws([*accuracies, *areas], 20_000, rng)
        means = np.array([each.values.mean() for each in (*accuracies, *areas)])
        found = against_envelope(means, draws, at_equal_accuracy(np.array([True, False])), alpha)[1]
        missed += not found.low <= 0 <= found.high
    print(f"missed {missed} of {num} at {alpha}")
    assert missed <= num * alpha + 3 * np.sqrt(num * alpha)  # three standard errors
    assert missed >= num * alpha / 10
