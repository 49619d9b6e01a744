"""Doubts about the files of an audit of one network: members that do not fit, references of another making."""

import numpy as np
import pytest

from pruneaudit import Signals, audit
from pruneaudit.evaluation.doubts import DOUBTS, MEMBERS, REFERENCES
from pruneaudit.report.sentences.answer import answer

N = 600


def one_network(shift=0, gain=2.0, reference_ease=1.0, num_victims=1):
    """Signals of networks that know their members better, and of three references; `shift` moves the members' rows."""
    rng = np.random.default_rng(0)
    member = rng.random((num_victims + 3, N)) < 0.5
    ease = np.where(np.arange(num_victims + 3) < num_victims, 1.0, reference_ease)[:, None]
    odds = rng.normal(ease + gain * member, 1.0)
    labels = rng.integers(0, 2, N)
    logits = np.stack([odds * (labels == 0), odds * (labels == 1)], axis=-1).astype(np.float32)
    told = member.copy()
    told[:num_victims] = np.roll(member[:num_victims], shift, axis=1)
    is_victim = np.arange(num_victims + 3) < num_victims
    return Signals(logits=logits, labels=labels, member=told, is_victim=is_victim)


def doubts_of(signals):
    found = audit(signals, attacks=["loss", "rmia"], fpr_levels=[0.1]).results
    return found, found.about.get(DOUBTS, [])


def test_nothing_to_doubt():
    results, found = doubts_of(one_network())
    assert found == []
    assert answer(results).unlearned == ()


def test_members_that_are_shifted_by_one_row_are_doubted_before_anything_is_said():
    results, (found,) = doubts_of(one_network(shift=1))
    assert found["kind"] == MEMBERS
    signals = one_network(shift=1)
    right, member = signals.is_correct[0], signals.member[0]
    assert found["own"] == pytest.approx(right[member].mean())
    assert found["other"] == pytest.approx(right[~member].mean())
    (said,) = answer(results).unlearned
    assert f"{100 * found['own']:.1f}%" in said


@pytest.mark.parametrize("ease", [0.2, 2.5])
def test_references_of_another_accuracy_are_doubted(ease):
    signals = one_network(reference_ease=ease)
    results, (found,) = doubts_of(signals)
    assert found["kind"] == REFERENCES
    others = ~signals.member[1:]
    assert found["other"] == pytest.approx(signals.is_correct[1:][others].mean())
    assert abs(found["own"] - found["other"]) > 0.05
    assert "signals" in answer(results).unlearned[0]


def test_a_bank_has_no_doubts():
    assert doubts_of(one_network(shift=1, num_victims=3))[1] == []
