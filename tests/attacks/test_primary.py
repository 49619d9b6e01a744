"""The primary attack: the rule reads names and the number of references, and no result."""

import itertools

import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.primary import MANY_REFERENCES, Primary, attack_by_rule

FEW = ("rmia", "base", "bavaria", "lira", "calibration", "modified_entropy", "loss")


@pytest.mark.parametrize("num_references", [0, 1, 8, MANY_REFERENCES - 1])
def test_with_few_references_rmia_leads_and_lira_stands_after_bavaria(num_references):
    for first, second in itertools.combinations(FEW, 2):
        assert attack_by_rule([second, first], num_references) == first


def test_from_64_references_on_lira_leads_unless_its_statistic_depends_on_a_floor():
    assert MANY_REFERENCES == 64
    assert attack_by_rule(FEW, 64) == "lira"
    assert attack_by_rule(FEW[1:], 64) == "lira"
    assert attack_by_rule(("loss", "base", "rmia"), 64) == "rmia"
    assert attack_by_rule(FEW, 64, floored=True) == "rmia"
    assert attack_by_rule(("lira", "loss"), 64, floored=True) == "lira", "there is no RMIA to play"


def test_the_alphabet_decides_nothing():
    assert attack_by_rule(ATTACKS.names(), 0) == "rmia"
    assert attack_by_rule(("back_front", "confidence", "loss"), 4) == "loss"
    assert attack_by_rule(("entropy", "confidence"), 4) == "entropy", "as they were given"


@pytest.mark.parametrize("learned", [name for name in ATTACKS.names() if ATTACKS.get(name).trains])
def test_what_learns_comes_after_what_does_not(learned):
    assert attack_by_rule((learned, "entropy"), 8) == "entropy"


@pytest.mark.parametrize("pair", [name for name in ATTACKS.names() if "two releases" in ATTACKS.get(name).needs])
def test_attacks_on_pairs_come_last(pair):
    assert attack_by_rule((pair, "samia"), 100) == "samia"
    assert attack_by_rule((pair,), 100) == pair


def test_a_plain_attack_goes_before_one_with_options():
    assert attack_by_rule(("lira:mode=offline", "lira"), 100) == "lira"
    assert attack_by_rule(("lira:mode=offline", "loss"), 100) == "lira:mode=offline"


def test_a_name_that_is_not_installed_stands_with_those_that_train_nothing():
    assert attack_by_rule(("gone", "nn"), 8) == "gone"
    assert attack_by_rule((), 8) == ""


@pytest.mark.parametrize("floored", [False, True])
def test_what_is_recorded_comes_back(floored):
    found = Primary.of(("loss", "lira"), 100, floored)
    assert Primary.recorded(found.record()) == found
    assert found.attack == "lira"


@pytest.mark.parametrize("about", [{}, {"primary": None}, {"primary": "lira"}, {"primary": {"attack": "lira"}}])
def test_older_runs_recorded_nothing(about):
    assert Primary.recorded(about) is None
