"""What attackers see of outputs: every reduction against a naive one, sample by sample."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.signals.reduced_outputs import reduced
from pruneaudit.signals.signals import Signals
from pruneaudit.study.outputs import Outputs

# M models, N samples, C classes, Q queries

LADDER = ("logits", "probabilities", "round:2", "round:1", "top:3", "top:1", "label")


def signals_of(seed=0, num_models=3, num_samples=40, num_classes=5, scale=3.0, queries=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_samples)
    logits = scale * rng.normal(size=(num_models, num_samples, num_classes))
    logits[:, np.arange(num_samples), labels] += scale / 2
    member = np.arange(num_samples) % 2 == np.arange(num_models)[:, None] % 2
    more = {}
    if queries:
        confidence = scale * rng.normal(size=(num_models, num_samples, queries))
        more = {"confidence": confidence, "correct": confidence > 0}
    return Signals(logits=logits, labels=labels, member=member, **more)


def seen(signals, name):
    return reduced(signals, Outputs.parse(name))


def naive_softmax(z):
    exact = [math.exp(float(value) - float(z.max())) for value in z]
    return [float(np.float32(value / sum(exact))) for value in exact]


def naive_phi(name, z, label):
    """Phi of one sample as one who sees these outputs computes it."""
    p, num_classes = naive_softmax(z), len(z)
    order = sorted(range(num_classes), key=lambda j: -float(z[j]))
    kind, _, number = name.partition(":")
    least = most = 2.0**-24
    value = p[label]
    if kind == "round":
        value = round(value, int(number))
        least = most = 0.5 * 10.0 ** -int(number)
    elif kind == "top" and label not in order[: int(number)]:
        top = [p[j] for j in order[: int(number)]]
        value = min(top[-1], max(1 - sum(top), most) / (num_classes - int(number)))
    if kind != "round":
        least = 0.0
    value = min(max(value, least), 1 - most)
    return math.log(value) - math.log1p(-value)


@pytest.mark.parametrize("name", ["probabilities", "round:1", "round:2", "round:4", "top:1", "top:2", "top:4"])
def test_phi_is_that_of_a_naive_attacker(name):
    signals = signals_of()
    found = seen(signals, name)
    for row in range(signals.num_models):
        for sample in range(signals.num_samples):
            expected = naive_phi(name, signals.logits[row, sample], int(signals.labels[sample]))
            assert found.phi[row, sample, 0] == pytest.approx(expected, abs=2e-5), (row, sample)


def test_a_hand_computed_sample():
    p = np.array([[[0.50, 0.26, 0.14, 0.06, 0.04], [0.2, 0.2, 0.2, 0.2, 0.2]]])
    signals = Signals(probabilities=p, labels=[3, 0], member=[[True, False]], resolution=1e-9)

    def probability(name):
        return 1 / (1 + math.exp(-seen(signals, name).phi[0, 0, 0]))

    assert probability("top:1") == pytest.approx(0.5 / 4)  # a quarter of what is left
    assert probability("top:2") == pytest.approx(0.24 / 3)
    assert probability("top:3") == pytest.approx(0.05)
    assert probability("top:4") == pytest.approx(0.06)
    assert probability("top:5") == pytest.approx(0.06)
    assert probability("round:1") == pytest.approx(0.1)
    assert probability("round:2") == pytest.approx(0.06)
    capped = Signals(probabilities=[[[0.4, 0.3, 0.0, 0.0, 0.3]] * 2], labels=[2, 0], member=[[True, False]])
    np.testing.assert_allclose(seen(capped, "top:1").probabilities[0, 0], [0.4, 0.15, 0.15, 0.15, 0.15], atol=1e-6)


def test_the_share_of_the_other_classes_is_at_most_the_lowest_that_is_seen():
    signals = Signals(probabilities=[[[0.3, 0.28, 0.22, 0.2]] * 2], labels=[3, 0], member=[[True, False]])
    assert seen(signals, "top:1").probabilities[0, 0, 3] == pytest.approx(0.7 / 3, abs=1e-6)
    unsure = Signals(probabilities=[[[0.2, 0.1, 0.1, 0.1]] * 2], labels=[3, 0], member=[[True, False]])
    assert seen(unsure, "top:1").probabilities[0, 0, 3] == pytest.approx(0.2, abs=1e-6)  # not .8 / 3


def test_float32_probabilities_saturate():
    logits = np.array([[[0.0, 40.0], [0.0, 10.0]]])
    found = seen(Signals(logits=logits, labels=[1, 1], member=[[True, False]]), "probabilities")
    assert found.phi[0, 0, 0] == pytest.approx(math.log(2**24), rel=1e-6)  # 16.6
    assert found.phi[0, 1, 0] == pytest.approx(10, abs=1e-2)
    wrong = seen(Signals(logits=logits, labels=[0, 1], member=[[True, False]]), "top:1")
    assert wrong.phi[0, 0, 0] == pytest.approx(-math.log(2**24), rel=1e-6)


def test_a_label_is_one_bit():
    signals = signals_of()
    found = seen(signals, "label")
    expected = np.where(signals.logits.argmax(axis=2) == signals.labels, 1, -1)
    assert np.array_equal(np.sign(found.phi[..., 0]), expected)
    assert len(np.unique(found.phi)) == 2
    assert len(np.unique([found.plain_phi(row) for row in range(3)])) == 2
    assert np.array_equal(found.is_correct, signals.is_correct)


def test_labels_of_predicted_classes():
    predicted = np.array([[0, 1, 2, 0], [0, 0, 2, 1]])
    signals = Signals(predicted=predicted, labels=[0, 1, 2, 2], member=[[1, 0, 1, 0], [0, 1, 0, 1]])
    assert np.array_equal(seen(signals, "label").phi[..., 0] > 0, [[1, 1, 1, 0], [1, 0, 1, 0]])


def test_queries_are_rounded_too_and_their_labels_are_bits():
    signals = signals_of(queries=4)
    rounded, labels = seen(signals, "round:1"), seen(signals, "label:queries")
    assert rounded.num_queries == labels.num_queries == 4
    p = np.round(1 / (1 + np.exp(-signals.phi)), 1).clip(0.05, 0.95)
    np.testing.assert_allclose(rounded.phi, np.log(p / (1 - p)), atol=1e-4)
    assert np.array_equal(labels.phi > 0, signals.correct)
    assert np.array_equal(seen(signals, "label").phi[..., 0], labels.phi[..., 0])
    assert seen(signals, "label").num_queries == seen(signals, "top:2").num_queries == 1


def test_given_probabilities_stay_as_they_are_and_no_output_is_finer():
    p = np.array([[[0.98, 0.02], [0.5, 0.5], [1.0, 0.0], [0.34, 0.66]]])
    signals = Signals(probabilities=p, labels=[0, 1, 1, 1], member=[[True, False, True, False]])
    assert seen(signals, "logits") is signals
    assert seen(signals, "probabilities") is signals
    np.testing.assert_allclose(seen(signals, "round:4").phi, signals.phi)  # they have two decimals
    assert seen(signals, "top:2").phi.tolist() == signals.phi.tolist()


@pytest.mark.parametrize("name", LADDER)
def test_everything_but_the_answers_stays(name, complete):
    found = seen(complete, name)
    answers = {"logits", "probabilities", "predicted", "confidence", "correct", "sensitivity", "resolution"}
    for each in fields(Signals):
        if each.name not in {
            *answers,
            "holdout",
            "structure",
            "start_saliency",
        }:  # a mask is no output, so it is dropped
            assert np.array_equal(getattr(found, each.name), getattr(complete, each.name)), each.name
    assert np.array_equal(found.untouched_holdout, complete.untouched_holdout)
    assert np.array_equal(found.take_models(np.array([2, 0])).phi, found.phi[[2, 0]])


HIGHER = {
    "probabilities": "logits",
    "round:2": "probabilities",
    "round:1": "probabilities",
    "top:3": "probabilities",
    "top:1": "top:3",
    "label": "top:1",
}
"""For each output, one that determines it."""


def answers(signals, row, sample):
    """All that an attacker sees of one sample, as a key."""
    numbers = signals.logits if signals.probabilities is None else signals.probabilities
    return (*numbers[row, sample].tolist(), int(signals.labels[sample]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 3.0, 20.0]), st.sampled_from(sorted(HIGHER)))
def test_less_output_is_a_function_of_more_output(seed, scale, name):
    """Samples that look the same at the higher output look the same at the lower one."""
    rng = np.random.default_rng(seed)
    few = np.round(scale * rng.normal(size=(3, 4)), 1)
    whole = Signals(
        logits=few[rng.integers(3, size=(2, 60))],
        labels=rng.integers(4, size=60),
        member=np.arange(120).reshape(2, 60) % 2 == 0,
    )
    higher, lower = seen(whole, HIGHER[name]), seen(whole, name)
    told = {}
    for row, sample in np.ndindex(2, 60):
        mine = lower.phi[row, sample].tolist(), answers(lower, row, sample)
        assert told.setdefault(answers(higher, row, sample), mine) == mine
    assert len(told) < 120  # some look the same


@pytest.mark.parametrize("name", ["logits", "probabilities", "round:1", "top:1"])
def test_predicted_classes_have_no_probabilities(name):
    signals = Signals(predicted=[[0, 1, 1]], labels=[0, 1, 0], member=[[True, False, True]])
    with pytest.raises(UserError, match=rf"'{name}'.*label"):
        seen(signals, name)


def test_labels_of_queries_need_stored_queries():
    with pytest.raises(UserError, match=r"'label:queries'.*one query"):
        seen(signals_of(), "label:queries")
    assert seen(signals_of(queries=2), "label:queries").num_queries == 2
