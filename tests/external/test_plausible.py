"""What is said of memberships that do not fit what models were trained on, and of models that did not learn."""

import dataclasses

import numpy as np
import pytest

import pruneaudit
from pruneaudit.evaluation.learned import NOT_LEARNED
from pruneaudit.external.plausible import model_accuracies, tell_implausible
from pruneaudit.report.sentences.answer import answer
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes

M, N, C = 6, 400, 4


def signals(right_on_members=0.95, right_on_others=0.6, seed=0):
    """Models that are right on so many of their members and of the others."""
    rng = np.random.default_rng(seed)
    labels, member = np.arange(N) % C, rng.random((M, N)) < 0.5
    right = rng.random((M, N)) < np.where(member, right_on_members, right_on_others)
    said = np.where(right, labels, (labels + 1) % C)
    logits = rng.normal(size=(M, N, C)) * 0.1 + 3 * (said[..., None] == np.arange(C))
    return Signals(logits=logits, labels=labels, member=member, model_ids=[f"net-{m}" for m in range(M)])


def told(given):
    notes = []
    tell_implausible(given, notes.append)
    return notes


def test_a_plausible_bank_is_not_spoken_of():
    assert told(signals()) == []


def test_accuracies_are_those_of_each_model():
    given = signals()
    right = given.logits.argmax(axis=2) == given.labels
    for row, found in enumerate(model_accuracies(given)):
        assert found.name == f"net-{row}"
        assert found.members == pytest.approx(right[row][given.member[row]].mean())
        assert found.others == pytest.approx(right[row][~given.member[row]].mean())
        assert found.is_gap_clear


def test_rows_that_were_exchanged_are_named_alone():
    given = signals()
    member = given.member.copy()
    member[[1, 4]] = member[[4, 1]]
    (note,) = told(dataclasses.replace(given, member=member))
    assert [f"net-{row}" in note for row in range(M)] == [False, True, False, False, True, False]


def test_equal_rows_are_named():
    given = signals()
    member = given.member.copy()
    member[3] = member[0]
    notes = told(dataclasses.replace(given, member=member))
    assert "net-0 = net-3" in notes[0]


def test_a_membership_in_another_order_throughout_is_told_of():
    given = signals()
    (note,) = told(dataclasses.replace(given, member=given.member[:, np.random.default_rng(1).permutation(N)]))
    assert "net-" not in note
    assert "order" in note


def test_models_that_did_not_learn_are_said_to_be_so_first():
    chance = signals(1 / C, 1 / C)
    (note,) = told(chance)
    assert "did not learn" in note
    assert "25.0%" in note
    results = pruneaudit.audit(chance, attacks=("loss",)).results
    assert set(results.about[NOT_LEARNED]) == {"signals"}
    assert "did not learn" in answer(results).unlearned[0]


@pytest.mark.parametrize("train", [0.95, 0.4])
def test_models_that_know_their_members_alone_did_learn(train):
    results = pruneaudit.audit(signals(train, 1 / C), attacks=("loss",)).results
    assert NOT_LEARNED not in results.about
    assert answer(results).unlearned == ()
