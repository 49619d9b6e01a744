"""Attacks on one prediction at a time, against their formulas computed sample by sample."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.attacks import ATTACKS

# N samples, C classes


def probabilities(logits):
    highest = max(logits)
    powers = [math.exp(z - highest) for z in logits]
    return [power / math.fsum(powers) for power in powers]


def naive_loss(p, y):
    return math.log(p[y])


def naive_confidence(p, y):
    return p[y]


def naive_entropy(p, y):
    return math.fsum(q * math.log(q) for q in p)


def naive_modified_entropy(p, y):
    others = math.fsum(q * math.log1p(-q) for j, q in enumerate(p) if j != y)
    return (1 - p[y]) * math.log(p[y]) + others


NAIVE = {
    "loss": naive_loss,
    "confidence": naive_confidence,
    "entropy": naive_entropy,
    "modified_entropy": naive_modified_entropy,
}


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
def test_a_whole_bank_against_the_formula(name, num_classes, dtype, make_bank, make_view, rng):
    bank = make_bank(num_models=3, num_samples=40, num_classes=num_classes, dtype=dtype)
    scores = ATTACKS.get(name)().score(make_view(bank), rng)
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
    assert unsure > wrong or name == "entropy"


def test_modified_entropy_tells_confidently_wrong_from_confidently_right():
    logits, labels = np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), np.array([0, 1])
    right, wrong = ATTACKS.get("modified_entropy")().of_predictions(logits, labels)
    assert right > -0.01 > -5 > wrong
    alike = ATTACKS.get("entropy")().of_predictions(logits, labels)
    assert alike[0] == alike[1]


def test_loss_ranks_where_the_confidence_has_rounded_to_one():
    logits, labels = np.array([[38.0, 0.0], [40.0, 0.0]]), np.zeros(2, dtype=int)
    confidence = ATTACKS.get("confidence")().of_predictions(logits, labels)
    assert confidence[0] == confidence[1] == 1
    np.testing.assert_allclose(ATTACKS.get("loss")().of_predictions(logits, labels), -np.exp([-38.0, -40.0]))
