"""The tests of a candidate, from an attack that is really played on made-up networks."""

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.evaluation import candidate_tests as of
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.candidate_tests import columns_of, largest_leakage
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.measure import accuracies, measure
from pruneaudit.metrics import mean_of
from pruneaudit.signals.signals import Signals

LEVELS = (0.1, 0.01)


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    member, labels = rng.random((6, 300)) < 0.5, rng.integers(0, 3, 300)
    logits = rng.normal(size=(6, 300, 3))
    logits[:, np.arange(300), labels] += 1.5 * member + 1
    signals = Signals(logits=logits, labels=labels, member=member)
    setting = bank_settings({"dense": signals}, ["matched"], {})[0]
    measured = {(name, "matched"): measure(ATTACKS.get(name)(), name, setting, LEVELS, 0) for name in ("loss", "rmia")}
    return accuracies(signals), measured


def test_accuracy_first_then_leakage_attack_by_attack(made):
    limits = Limits(min_accuracy=0.5, max_tpr={0.1: 0.6})
    tests = of.tests_of(limits, *made)
    assert [(test.figure, test.attack) for test in tests] == [
        ("test_accuracy", ""),
        ("tpr_at_10%_fpr", "loss"),
        ("auc", "loss"),
        ("tpr_at_10%_fpr", "rmia"),
        ("auc", "rmia"),
    ]
    assert [test.limit for test in tests] == [0.5, 0.6, None, 0.6, None]
    for test in tests[1:]:
        estimate = mean_of(made[1][test.attack, "matched"].by_column[test.figure])
        assert (test.value, test.error) == (estimate.value, estimate.std_error)
    assert tests[0].value == mean_of(made[0].test).value
    assert largest_leakage(tests, limits) == max(tests[1].value, tests[3].value)


def test_a_figure_with_too_few_samples_counts_as_broken(made):
    test = of.tests_of(Limits(max_tpr={0.01: 0.5}), *made)[1]
    assert test.p_value == 1 and test.value is None and "1,000 non-members" in test.suppressed
    assert largest_leakage((test,), Limits(max_tpr={0.01: 0.5})) is None


def test_a_figure_that_was_not_measured_counts_as_broken(made):
    test = of.tests_of(Limits(max_tpr={0.2: 0.5}), *made)[1]
    assert test.p_value == 1 and "fpr_levels" in test.suppressed


def test_before_any_attack_there_is_the_accuracy_alone(made):
    assert [test.figure for test in of.tests_of(Limits(min_accuracy=0.5), made[0], {})] == ["test_accuracy"]
    assert columns_of(Limits(min_accuracy=0.5)) == ("auc",)
