"""Derived numbers against the formulas in high precision, and where those would overflow."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.signals.derived import correct, log_softmax, scaled_confidence

# n samples, C classes

logit_arrays = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(2, 7)), elements=st.floats(-25, 25, allow_nan=False)
)


def exact_probability(logits, label):
    """p_y as a fraction: exact but for exp itself."""
    powers = [Fraction(math.exp(float(z))) for z in logits]
    return powers[label] / sum(powers)


@given(logits=logit_arrays, data=st.data())
def test_phi_is_the_logit_of_the_probability(logits, data):
    labels = data.draw(hnp.arrays(np.int64, len(logits), elements=st.integers(0, logits.shape[1] - 1)))
    phi = scaled_confidence(logits, labels)
    for row, label, found in zip(logits, labels, phi, strict=True):
        p = exact_probability(row, label)
        assert found == pytest.approx(math.log(p / (1 - p)), rel=1e-12, abs=1e-12)


@given(logits=logit_arrays)
def test_log_softmax_against_exact_fractions(logits):
    found = log_softmax(logits)
    for row, log_p in zip(logits, found, strict=True):
        for label in range(len(row)):
            assert log_p[label] == pytest.approx(math.log(exact_probability(row, label)), rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)


def test_phi_keeps_its_precision_where_the_probability_rounds_to_one():
    logits = np.array([[80.0, 0.0, 0.0], [80.5, 0.0, 0.0], [-80.0, 0.0, 0.0]])
    zeros = np.zeros(3, dtype=int)
    np.testing.assert_allclose(scaled_confidence(logits, zeros), np.array([80, 80.5, -80]) - np.log(2), rtol=1e-15)
    p = np.exp(log_softmax(logits))[:2, 0]
    assert (p == 1).all()  # here ln(p / (1 - p)) would divide by 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite_and_ordered(dtype):
    heights = np.array([-1e30, -1e10, -80, -1, 0, 1, 80, 1e10, 1e30])
    logits = np.zeros((len(heights), 3), dtype=dtype)
    logits[:, 1] = heights
    phi = scaled_confidence(logits, np.ones(len(heights), dtype=int))
    assert np.isfinite(phi).all()
    assert (np.diff(phi) > 0).all()
    log_p = log_softmax(logits)
    assert np.isfinite(log_p).all()
    assert (np.diff(log_p[:, 1]) >= 0).all()


def test_both_ends_of_float32_at_once():
    huge = np.finfo(np.float32).max
    logits = np.array([[huge, -huge], [-huge, huge]], dtype=np.float32)
    np.testing.assert_allclose(scaled_confidence(logits, np.zeros(2, int)), [2 * float(huge), -2 * float(huge)])
    assert np.isfinite(log_softmax(logits)).all()


@given(logits=logit_arrays, shift=st.floats(-1e3, 1e3))
def test_nothing_depends_on_a_common_shift(logits, shift):
    labels = np.zeros(len(logits), dtype=int)
    np.testing.assert_allclose(
        scaled_confidence(logits + shift, labels), scaled_confidence(logits, labels), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(log_softmax(logits + shift), log_softmax(logits), rtol=1e-9, atol=1e-9)


def test_inputs_stay_as_they_were():
    logits = np.arange(6, dtype=np.float64).reshape(2, 3)
    before = logits.copy()
    scaled_confidence(logits, np.array([0, 2]))
    log_softmax(logits)
    np.testing.assert_array_equal(logits, before)


def test_correct_takes_the_first_of_tied_classes():
    logits = np.array([[1.0, 1.0], [0.0, 2.0], [3.0, 2.0]])
    assert correct(logits, np.array([0, 1, 1])).tolist() == [True, True, False]
    assert correct(logits, np.array([1, 0, 0])).tolist() == [False, False, True]
