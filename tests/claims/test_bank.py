"""The figures of a bank against hand computations: shares, equal accuracy, and sets of releases."""

import numpy as np
import pytest

from pruneaudit.claims.bank import Bank
from pruneaudit.claims.comparisons import Comparison, NotTestedError
from pruneaudit.evaluation import bank_settings
from pruneaudit.metrics import difference_two_way
from pruneaudit.signals.signals import Signals

NUM_MODELS, NUM_SAMPLES = 10, 500
GAINS = {"dense": 1.5, "less": 0.8, "small": 0.6}
LIFTS = {"dense": 1.2, "less": 1.0, "small": 0.7}
"""How much more likely the right class is for all samples: it orders the accuracies."""


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    member = rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    labels = rng.integers(3, size=NUM_SAMPLES)
    base = rng.normal(size=(NUM_MODELS, NUM_SAMPLES, 3))
    releases = {}
    for name, gain in GAINS.items():
        logits = base + 0.3 * rng.normal(size=base.shape)
        logits[:, np.arange(NUM_SAMPLES), labels] += LIFTS[name] + gain * member
        releases[name] = Signals(logits, labels, member)
    return Bank(bank_settings(releases, ("matched",)), 0)


def mean(bank, release, attack="loss"):
    return bank.area(release, attack).values.mean()


def test_a_paired_difference_is_the_usual_one(bank):
    found = bank.difference(Comparison("paired", ("less",), ("dense",)), "loss", 0.05)
    usual = difference_two_way(bank.area("less", "loss"), bank.area("dense", "loss"))
    assert (found.value, found.low, found.high) == pytest.approx((usual.value, usual.low, usual.high))
    wider = bank.difference(Comparison("paired", ("less",), ("dense",)), "loss", 0.001)
    assert wider.low < found.low < found.high < wider.high


def test_a_share_is_of_what_exceeds_guessing(bank):
    found = bank.difference(Comparison("paired", ("less",), ("dense",), 0.5), "loss", 0.05)
    assert found.value == pytest.approx((mean(bank, "less") - 0.5) - 0.5 * (mean(bank, "dense") - 0.5))


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_equal_accuracy_takes_the_least_among_the_as_accurate(bank, share):
    accuracy = {name: bank.mean_accuracy([name]) for name in GAINS}
    assert accuracy["dense"] > accuracy["less"] > accuracy["small"]
    found = bank.difference(Comparison("equal accuracy", ("small",), ("dense", "less"), share), "loss", 0.05)
    assert found.against == "less"
    assert found.value == pytest.approx((mean(bank, "small") - 0.5) - share * (mean(bank, "less") - 0.5))
    assert found.low < found.value < found.high


def test_what_nothing_reaches_has_no_value(bank):
    found = bank.difference(Comparison("equal accuracy", ("dense",), ("less", "small")), "loss", 0.05)
    assert np.isnan(found.value) and "above" in found.note and not found.against


def test_several_releases_are_seen_by_the_joint_attack(bank):
    more = bank.difference(Comparison("together", ("dense", "less"), ("dense",)), "lira", 0.05)
    other = bank.difference(Comparison("together", ("less",), ("dense",)), "lira", 0.05)
    assert more.value > other.value  # dense says more than less
    assert not more.is_weak
    assert not other.is_weak  # the second is no part of the first, so a loss is no sign of weakness


def test_a_release_that_was_not_attacked_is_named(bank):
    with pytest.raises(NotTestedError, match="'nowhere'"):
        bank.difference(Comparison("paired", ("nowhere",), ("dense",)), "loss", 0.05)
