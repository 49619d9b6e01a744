"""Which candidates of a rung go on: gates, paired comparisons, halving."""

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.choosing.bench import Trial
from pruneaudit.choosing.rungs import Race, better_part, evenly, front
from pruneaudit.evaluation import candidate_tests
from pruneaudit.evaluation.certificate import Candidate
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.measure import Accuracies, Measured
from pruneaudit.metrics import PerVictim

LIMITS = Limits(min_accuracy=0.75, max_auc=0.6, max_bytes=1000)
MODELS = (0, 1, 2, 3)


def figure(mean, rng, models=4, spread=0.004, samples=200, common=None):
    """A figure of every victim; what all candidates have in common stays the same."""
    common = np.zeros(models) if common is None else common
    values = mean + common + spread * rng.standard_normal(models)
    return PerVictim(values, rng.standard_normal((models, samples)) * 1e-4)


def trial(name, accuracy=0.85, auc=0.55, size=500.0, seed=0, spread=0.002, common=None):
    rng = np.random.default_rng([seed, len(name), *name.encode()])
    accuracies = Accuracies(figure(0.9, rng), figure(accuracy, rng, spread=spread, common=common))
    found = {} if auc is None else {("rmia", "matched"): measured(figure(auc, rng, spread=spread, common=common))}
    candidate = Candidate(name=name, bytes=size, macs=size, tests=candidate_tests.tests_of(LIMITS, accuracies, found))
    return Trial(MODELS, candidate, accuracies, found)


def measured(auc):
    scores = np.zeros((4, 200))
    member = np.arange(200) < 100
    nothing = np.zeros((4, 1))
    return Measured(
        scores=scores,
        ordinary=np.ones_like(scores, dtype=bool),
        member=np.broadcast_to(member, scores.shape),
        num_unscored=np.zeros(4, dtype=int),
        variant="",
        num_trainings=3,
        by_column={"auc": auc},
        learned_tpr=nothing,
        learned_fpr=nothing,
        num_teaching=np.zeros(4, dtype=int),
    )


def decided(*trials, limits=LIMITS, keep=0.5, num_candidates=None, is_last=False):
    race = Race(limits, num_candidates or len(trials), 3, keep)
    return race.decide({each.candidate.name: each for each in trials}, is_last)


def whys(found):
    return {name: one.why for name, one in found.items()}


def test_a_candidate_that_breaks_a_limit_clearly_stops():
    found = decided(
        trial("fine"), trial("bad", accuracy=0.5), trial("leaky", auc=0.8), trial("big", size=1001.0), is_last=True
    )
    assert whys(found) == {"bad": "accuracy", "leaky": "leakage", "big": "too large"}
    assert found["bad"].value == pytest.approx(0.5, abs=0.02)
    assert (found["leaky"].limit, found["big"].limit) == (0.6, 1000)


def test_a_candidate_near_a_limit_goes_on():
    assert decided(trial("a", accuracy=0.749, spread=0.03), trial("b", auc=0.601, spread=0.03), is_last=True) == {}


def test_what_is_not_accurate_enough_or_too_large_is_not_attacked():
    race = Race(LIMITS, 4, 2, 0.5)
    assert race.is_attacked(trial("fine", auc=None).candidate)
    assert not race.is_attacked(trial("bad", accuracy=0.5, auc=None).candidate)
    assert not race.is_attacked(trial("big", size=1e6, auc=None).candidate)


def test_bounds_share_the_error_among_candidates_and_rungs():
    assert Race(LIMITS, 20, 3, 0.5).alpha == pytest.approx(0.05 / 60)
    test = LimitTest(figure="auc", limit=0.6, value=0.7, error=0.02, freedom=3.0, p_value=1.0)
    margin = (0.7 - 0.6) / 0.02
    p_value = scipy.stats.t.sf(margin, 3)
    candidate = Candidate(name="x", bytes=1.0, tests=(test,))
    for num, stops in ((0.05 / p_value * 0.99, True), (0.05 / p_value * 1.01, False)):
        assert (Race(LIMITS, num, 1, 0.5).stopped_alone(candidate) is not None) == stops


def test_a_clearly_better_one_that_is_no_larger_races_out():
    better, worse = trial("better", accuracy=0.9, auc=0.52), trial("worse", accuracy=0.8, auc=0.58)
    found = decided(better, worse, is_last=True)
    assert whys(found) == {"worse": "raced out"}
    assert found["worse"].against == "better"
    assert found["worse"].difference == pytest.approx(0.06, abs=0.01)
    assert 0 < found["worse"].bound < found["worse"].difference


@pytest.mark.parametrize(
    "better",
    [
        trial("larger", accuracy=0.9, auc=0.52, size=501.0),
        trial("as accurate", accuracy=0.8, auc=0.52),
        trial("leaks as much", accuracy=0.9, auc=0.58),
        trial("not attacked", accuracy=0.9, auc=None),
    ],
)
def test_one_that_is_not_better_in_everything_races_nobody_out(better):
    assert decided(better, trial("worse", accuracy=0.8, auc=0.58), is_last=True) == {}


def test_pairs_see_through_what_models_have_in_common():
    """Between models both vary by far more than they differ; on the same models they differ clearly."""
    common = 0.03 * np.random.default_rng(1).standard_normal(4)
    better = trial("better", accuracy=0.86, auc=0.53, common=common, spread=0.001)
    worse = trial("worse", accuracy=0.84, auc=0.55, common=common, spread=0.001)
    assert whys(decided(better, worse, is_last=True)) == {"worse": "raced out"}
    alone = trial("worse", accuracy=0.84, auc=0.55, common=-common, spread=0.001)
    assert decided(better, alone, is_last=True) == {}


def test_candidates_of_other_models_are_not_compared():
    better, worse = trial("better", accuracy=0.9, auc=0.52), trial("worse", accuracy=0.8, auc=0.58)
    other = Trial((0, 1, 2, 4), worse.candidate, worse.accuracies, worse.measured)
    assert decided(better, other, is_last=True) == {}


def test_half_of_a_rung_goes_on_and_all_of_the_last():
    rng = np.random.default_rng(0)
    trials = [
        trial(f"t{n}", accuracy=0.8 + 0.001 * n, auc=rng.uniform(0.55, 0.6), size=100.0 + n, spread=0.05)
        for n in range(9)
    ]
    assert list(whys(decided(*trials)).values()) == ["halved"] * 4
    assert decided(*trials, is_last=True) == {}
    assert list(whys(decided(*trials, keep=0.01)).values()) == ["halved"] * 7


def candidate(name, p_value, size):
    test = LimitTest(figure="auc", limit=0.6, value=0.5, error=0.1, p_value=p_value)
    return Candidate(name=name, bytes=size, tests=(test,))


CANDIDATES = st.lists(st.tuples(st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.6, 0.9]), st.integers(1, 6)), max_size=12)


@given(CANDIDATES, st.integers(1, 12))
def test_the_better_part_is_that_of_plain_loops(given_pairs, most):
    candidates = [candidate(str(n), p, float(size)) for n, (p, size) in enumerate(given_pairs)]
    kept = better_part(candidates, LIMITS, most)
    assert len(kept) == min(most, len(candidates))
    assert kept == [c.name for c in candidates if c.name in kept]
    within = [c for c in candidates if c.p_value <= 0.5]
    if any(c.p_value > 0.5 and c.name in kept for c in candidates):
        assert {c.name for c in within} <= set(kept)
    layer = {c.name for c in within if not any(better(o, c) for o in within)}
    assert {c.name for c in front(within, LIMITS)} == layer
    if len(layer) <= most:
        assert layer <= set(kept)


def better(one, other):
    """Whether one is better in cost or p-value and not worse in the other."""
    return (one.bytes <= other.bytes and one.p_value < other.p_value) or (
        one.bytes < other.bytes and one.p_value <= other.p_value
    )


def test_a_figure_that_the_rung_cannot_measure_is_replaced_by_the_auc():
    """Otherwise all candidates would be alike, and the first ones given would go on."""
    limits = Limits(min_accuracy=0.75, max_tpr={0.01: 0.05})

    def lacking(name, auc, size, accuracy_p=0.1):
        tests = (
            LimitTest(figure="test_accuracy", limit=0.75, value=0.8, error=0.01, p_value=accuracy_p),
            LimitTest(figure="tpr_at_1%_fpr", limit=0.05, p_value=1.0, suppressed="too few"),
            LimitTest(figure="auc", value=auc, error=0.01),
        )
        return Candidate(name=name, bytes=size, tests=tests)

    candidates = [lacking("leaky", 0.7, 10.0), lacking("large", 0.55, 20.0), lacking("best", 0.55, 10.0)]
    assert better_part(candidates, limits, 1) == ["best"]
    assert better_part([*candidates, lacking("inaccurate", 0.5, 5.0, accuracy_p=0.9)], limits, 3) == [
        *("leaky", "large", "best"),
    ]


@given(st.integers(0, 20), st.integers(1, 8))
def test_thinning_keeps_both_ends(count, most):
    items = list(range(count))
    found = evenly(items, most)
    assert len(found) == min(count, most)
    assert found == sorted(set(found))
    if found and most > 1:
        assert (found[0], found[-1]) == (0, count - 1)


def test_without_a_spread_the_value_decides():
    race = Race(LIMITS, 1, 1, 1)
    exact = {"figure": "auc", "limit": 0.6, "error": 0.0}
    broken = Candidate(name="x", bytes=1.0, tests=(LimitTest(value=0.7, p_value=1.0, **exact),))
    kept = Candidate(name="x", bytes=1.0, tests=(LimitTest(value=0.5, p_value=0.0, **exact),))
    assert race.stopped_alone(broken).why == "leakage"
    assert race.stopped_alone(kept) is None
    assert math.isinf(race._lower_bound(type("E", (), {"std_error": math.nan, "value": 1.0})()))
