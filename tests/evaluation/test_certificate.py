"""Certificates: fixed sequence and Holm against plain loops, the choice, and files that were changed."""

import itertools
import json

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.certificate import Candidate, Certificate, Scope, certify
from pruneaudit.evaluation.limit_test import LimitTest, Question, answer
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.shortlist import shortlist
from pruneaudit.metrics import PerVictim

LIMITS = Limits(min_accuracy=0.75, max_tpr={0.01: 0.05})
SCOPE = Scope(study="s", num_search_models=8, num_confirm_models=8, num_references=7, num_samples=500, num_candidates=5)
P_VALUES = st.lists(st.floats(0, 1), max_size=7)


def candidate(name, p_value, size=100.0, accuracy_p=0.001, **more):
    tests = (
        LimitTest(
            figure="test_accuracy", limit=0.75, value=0.8, error=0.01, p_value=accuracy_p, bound=0.78, method="t"
        ),
        LimitTest(
            figure="tpr_at_1%_fpr", attack="rmia", limit=0.05, value=0.03, error=0.01, p_value=p_value, bound=0.05
        ),
    )
    return Candidate(name=name, tests=tests, bytes=size, **more)


def measured(name, tpr, size=100.0):
    """A candidate whose tests come from figures of eight models."""
    rng = np.random.default_rng(len(name))
    tests = [
        answer(Question(figure, limit), PerVictim(mean + 0.01 * rng.standard_normal(8), np.zeros((8, 2))))
        for figure, limit, mean in (("test_accuracy", 0.75, 0.8), ("tpr_at_1%_fpr", 0.05, tpr), ("auc", None, 0.6))
    ]
    return Candidate(name=name, tests=tuple(tests), bytes=size)


def outcomes(certificate):
    return [one.outcome for one in certificate.judged]


@given(P_VALUES)
def test_a_fixed_sequence_stops_at_the_first_failure(p_values):
    given_candidates = [candidate(str(i), p) for i, p in enumerate(p_values)]
    found = certify(given_candidates, LIMITS, SCOPE)
    expected = list(itertools.takewhile(lambda p: p <= 0.05, p_values))
    assert len(found.certified) == len(expected)
    assert [one.name for one in found.certified] == [str(i) for i in range(len(expected))]
    assert outcomes(found).count("failed") == (len(expected) < len(p_values))


@given(P_VALUES)
def test_holm_is_the_step_down_loop(p_values):
    found = certify(
        [candidate(str(i), p, accuracy_p=0.0) for i, p in enumerate(p_values)], LIMITS, SCOPE, ordered=False
    )
    left = sorted(range(len(p_values)), key=lambda i: p_values[i])
    expected = set()
    for step, i in enumerate(left):
        if p_values[i] * (len(left) - step) > 0.05:
            break
        expected.add(str(i))
    assert {one.name for one in found.certified} == expected
    assert "not tested" not in outcomes(found)


def test_the_p_value_of_a_candidate_is_its_largest():
    assert candidate("a", 0.02, accuracy_p=0.3).p_value == 0.3
    assert candidate("a", 0.02, accuracy_p=0.3).decisive.figure == "test_accuracy"
    assert Candidate(name="untested").p_value == 1


def test_the_smallest_certified_one_is_chosen():
    found = certify([candidate("a", 0.01, 300), candidate("b", 0.02, 200), candidate("c", 0.3, 100)], LIMITS, SCOPE)
    assert outcomes(found) == ["certified", "chosen", "failed"] and found.chosen.name == "b"
    assert certify([candidate("a", 0.2)], LIMITS, SCOPE).chosen is None
    assert certify([], LIMITS, SCOPE).chosen is None


def test_a_large_one_is_left_out_without_stopping_the_sequence():
    limits = LIMITS.model_copy(update={"max_bytes": 150})
    found = certify([candidate("a", 0.01, 300), candidate("b", 0.02, 100)], limits, SCOPE)
    assert outcomes(found) == ["too large", "chosen"]


def test_least_leakage_is_by_the_search_half():
    limits = LIMITS.model_copy(update={"minimize": "leakage"})
    found = certify([candidate("a", 0.01, leakage=0.03), candidate("b", 0.02, leakage=0.02)], limits, SCOPE)
    assert found.chosen.name == "b"


def test_a_written_certificate_is_read_back_and_a_changed_one_refused(tmp_path):
    found = certify([measured("a", 0.03), measured("b", 0.05)], LIMITS, SCOPE)
    assert outcomes(found) == ["chosen", "failed"]
    path = found.write(tmp_path / "certificate.json")
    assert Certificate.read(path) == found
    values = json.loads(path.read_text())
    for edit, expected in (
        (lambda v: v["judged"][1].update(outcome="chosen"), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(p_value=0.5), "changed"),
        (lambda v: v["limits"].update(alpha=0.3), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(p_value=0.001), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(value=0.01), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(bound=0.01), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(method="exact"), "changed"),
        (lambda v: v["judged"][0]["candidate"]["tests"][1].update(method="none"), "changed"),
        (lambda v: v.update(format=2), "format 2"),
        (lambda v: v.update(kind="x"), "not a certificate"),
        (lambda v: v.update(more=1), "more"),
    ):
        changed = json.loads(json.dumps(values))
        edit(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match=expected):
            Certificate.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        Certificate.read(path)


def test_the_list_goes_from_safe_to_small():
    found = shortlist(
        [
            candidate("small", 0.1, 100),
            candidate("safe", 0.001, 300),
            candidate("useless", 0.02, 350),
            candidate("inaccurate", 0.01, 50, accuracy_p=0.9),
            candidate("leaky", 0.7, 50),
        ],
        LIMITS,
    )
    assert [one.name for one in found.candidates] == ["safe", "small"]
    assert {one.name: one.why for one in found.passed_over} == {
        "useless": "better one",
        "inaccurate": "accuracy",
        "leaky": "leakage",
    }


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), max_size=8), st.integers(1, 4))
def test_every_candidate_is_listed_or_passed_over(pairs, most):
    given_candidates = [candidate(str(i), p, float(size)) for i, (p, size) in enumerate(pairs)]
    found = shortlist(given_candidates, LIMITS, most)
    assert len(found.candidates) <= most
    assert sorted([one.name for one in (*found.candidates, *found.passed_over)]) == [
        one.name for one in given_candidates
    ]
    sizes = [one.bytes for one in found.candidates]
    assert sizes == sorted(sizes, reverse=True)
    assert np.all(np.diff([one.p_value for one in found.candidates]) >= 0)


def chance(candidate):
    """That other models with errors of the same size confirm a p-value of this size."""
    evidence = scipy.stats.norm.isf(min(max(candidate.p_value, 1e-300), 0.5))
    return scipy.stats.norm.cdf((evidence - scipy.stats.norm.isf(0.05)) / np.sqrt(2))


def saving(candidates):
    """The expected logarithm of what the last certified one of a list saves; nothing certified costs three times."""
    before, total = -np.log(3 * max(each.bytes for each in CHAIN)), 0.0
    for each in candidates:
        total += chance(each) * (-np.log(each.bytes) - before)
        before = -np.log(each.bytes)
    return total


CHAIN = [
    candidate(str(n), p, size)
    for n, (p, size) in enumerate(
        [(1e-12, 900.0), (1e-9, 700.0), (1e-7, 650.0), (1e-3, 400.0), (0.02, 300.0), (0.1, 290.0), (0.4, 120.0)]
    )
]
CHAIN = [one.model_copy(update={"tests": one.tests[1:]}) for one in CHAIN]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 6])
def test_a_long_list_keeps_its_last_and_those_that_save_most(most):
    found = shortlist(CHAIN, LIMITS, most)
    assert found.candidates[-1].name == "6"  # the choice of a search without confirmation
    every = [[*part, CHAIN[-1]] for part in itertools.combinations(CHAIN[:-1], most - 1)]
    best = max(every, key=saving)
    assert saving(found.candidates) == pytest.approx(saving(best))
    assert {one.why for one in found.passed_over} == {"many"}
