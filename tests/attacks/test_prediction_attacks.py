"""Attacks on one prediction at a time, against their formulas computed sample by sample."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.attacks import ATTACKS
from pruneaudit.metrics import auc

# N samples, C classes


def probabilities(logits):
    highest = max(logits)
    powers = [math.exp(z - highest) for z in logits]
    return [power / math.fsum(powers) for power in powers]


def naive_log_odds(p, y):
    return math.log(p[y]) - math.log(math.fsum(q for j, q in enumerate(p) if j != y))


def naive_top1(p, y):
    return naive_log_odds(p, max(range(len(p)), key=p.__getitem__))


def naive_entropy(p, y):
    return -math.log(-math.fsum(q * math.log(q) for q in p))


def naive_modified_entropy(p, y):
    def log_not(j):
        return math.log1p(-p[j]) if p[j] < 0.5 else math.log(math.fsum(p[:j] + p[j + 1 :]))

    others = math.fsum(q * log_not(j) for j, q in enumerate(p) if j != y)
    return -math.log(-math.exp(log_not(y)) * math.log(p[y]) - others)


NAIVE = {
    "loss": naive_log_odds,
    "confidence": naive_log_odds,
    "top1_confidence": naive_top1,
    "entropy": naive_entropy,
    "modified_entropy": naive_modified_entropy,
}
LABEL_FREE = ("entropy", "top1_confidence")


@pytest.mark.parametrize("name", NAIVE)
@given(
    logits=hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.floats(-12, 12)),
    data=st.data(),
)
def test_against_the_formula(name, logits, data):
    labels = data.draw(hnp.arrays(np.int64, len(logits), elements=st.integers(0, logits.shape[1] - 1)))
    found = ATTACKS.get(name)().of_predictions(logits, labels)
    for row, label, score in zip(logits, labels, found, strict=True):
        assert score == pytest.approx(NAIVE[name](probabilities(row.tolist()), label), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize(("num_classes", "dtype"), [(2, np.float32), (5, np.float16)])
def test_a_whole_bank_against_the_formula(name, num_classes, dtype, make_bank, make_input, rng):
    bank = make_bank(num_models=3, num_samples=40, num_classes=num_classes, dtype=dtype)
    scores = ATTACKS.get(name)().score(make_input(bank), rng)
    for m in range(3):
        for n in range(40):
            p = probabilities(bank.logits[m, n].astype(float).tolist())
            assert scores.victims[m, n] == pytest.approx(NAIVE[name](p, bank.labels[n]), abs=1e-6)
    np.testing.assert_array_equal(scores.references, scores.victims)


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("height", [80.0, 1e4, 1e30])
def test_extreme_logits_stay_finite_and_in_order(name, height):
    logits = np.array([[height, 0, 0], [1, 0, 0], [-height, 0, 0]])
    sure, unsure, wrong = ATTACKS.get(name)().of_predictions(logits, np.zeros(3, dtype=int))
    assert np.isfinite([sure, unsure, wrong]).all()
    assert sure > unsure
    assert unsure > wrong or name in LABEL_FREE


def test_modified_entropy_tells_confidently_wrong_from_confidently_right():
    logits, labels = np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), np.array([0, 1])
    right, wrong = ATTACKS.get("modified_entropy")().of_predictions(logits, labels)
    assert right > 5 > 0 > wrong
    alike = ATTACKS.get("entropy")().of_predictions(logits, labels)
    assert alike[0] == alike[1]


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("height", [30.0, 700.0, 2e4])
def test_logits_of_any_height_leave_no_ties(name, num_classes, height, rng):
    """Losses and probabilities round to 0 and 1 there; of two classes all these scores are functions of phi."""
    logits = height * (1 + rng.random((200, num_classes)))
    labels = logits.argmax(axis=1)
    found = ATTACKS.get(name)().of_predictions(logits, labels)
    assert len(np.unique(found)) == len(found)
    others = np.sort(logits, axis=1)[:, :-1]
    phi = logits.max(axis=1) - others[:, -1] - np.log(np.exp(others - others[:, -1:]).sum(axis=1))
    if num_classes == 2 or name not in ("entropy", "modified_entropy"):
        np.testing.assert_array_equal(np.argsort(found), np.argsort(phi))


def test_the_loss_of_a_bank_with_huge_logits_finds_what_phi_finds(make_bank, make_input, rng):
    bank = make_bank(num_models=4, num_samples=200)
    huge = type(bank)(bank.logits * np.float32(4096), bank.labels, bank.member)  # a power of two: the same digits
    assert (huge.phi > 745).mean() > 0.3
    expected = auc(huge.phi[..., 0], bank.member)
    for name in ("loss", "confidence"):
        np.testing.assert_array_equal(
            auc(ATTACKS.get(name)().score(make_input(huge), rng).victims, bank.member), expected
        )
