"""Sums for all victims at once against a loop over victims, samples and references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.attacks.moments import means, moments

# V victims, K references, N samples


@st.composite
def problems(draw, elements):
    num_victims, num_references, num_samples = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    values = draw(hnp.arrays(np.float64, (num_references, num_samples), elements=elements))
    chosen = draw(hnp.arrays(bool, (num_references, num_samples)))
    allowed = draw(hnp.arrays(bool, (num_victims, num_references)))
    return values, chosen, allowed


def picked(values, chosen, allowed):
    """(victim, sample, the values that count) by plain loops."""
    for v in range(len(allowed)):
        for n in range(values.shape[1]):
            rows = [k for k in range(len(values)) if allowed[v, k] and chosen[k, n]]
            yield v, n, [float(values[k, n]) for k in rows]


@given(problem=problems(st.floats(-100, 100)))
def test_moments_against_loops(problem):
    found = moments(*problem)
    variance = found.sample_variance()
    for v, n, values in picked(*problem):
        assert found.count[v, n] == len(values)
        if not values:
            assert np.isnan(found.mean[v, n])
            assert found.squares[v, n] == 0
            assert np.isnan(variance[v, n])
            continue
        mean = sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        assert found.mean[v, n] == pytest.approx(mean, abs=1e-11)
        assert found.squares[v, n] == pytest.approx(squares, abs=1e-9)
        if len(values) == 1:
            assert np.isnan(variance[v, n])
        else:
            assert variance[v, n] == pytest.approx(squares / (len(values) - 1), abs=1e-9)


@given(problem=problems(st.floats(-100, 100)), data=st.data())
def test_pooled_variance_against_loops(problem, data):
    counted = data.draw(hnp.arrays(bool, problem[0].shape[1]))
    found = moments(*problem).pooled_variance(counted)
    assert found.shape == (len(problem[2]), 1)
    squares, freedom = [0.0] * len(found), [0] * len(found)
    for v, n, values in picked(*problem):
        if counted[n] and values:
            squares[v] += sum((value - sum(values) / len(values)) ** 2 for value in values)
            freedom[v] += len(values) - 1
    for v in range(len(found)):
        if freedom[v]:
            assert found[v, 0] == pytest.approx(squares[v] / freedom[v], abs=1e-9)
        else:
            assert np.isnan(found[v, 0])


@given(problem=problems(st.floats(0, 1)))
def test_means_against_loops(problem):
    found = means(*problem)
    for v, n, values in picked(*problem):
        if values:
            assert found[v, n] == pytest.approx(sum(values) / len(values), rel=1e-12)
        else:
            assert np.isnan(found[v, n])


def test_a_tiny_probability_beside_a_large_one_keeps_its_digits():
    values = np.array([[1.0], [1e-30], [3e-30]])
    chosen = np.array([[False], [True], [True]])
    np.testing.assert_allclose(means(values, chosen, np.ones((1, 3), bool)), [[2e-30]], rtol=1e-12)


def test_a_large_common_offset_does_not_swallow_the_spread():
    values = 1e6 + np.array([[0.0], [1e-3], [2e-3]])
    found = moments(values, np.ones((3, 1), bool), np.ones((1, 3), bool))
    assert found.sample_variance()[0, 0] == pytest.approx(1e-6, rel=1e-6)


def test_the_worlds_variance_is_found():
    rng = np.random.default_rng(3)
    difficulty = rng.normal(scale=10, size=2000)  # between samples: must not count
    values = difficulty + rng.normal(scale=0.5, size=(8, 2000))
    chosen, counted = rng.random((8, 2000)) < 0.5, np.ones(2000, bool)
    found = moments(values, chosen, np.ones((1, 8), bool)).pooled_variance(counted)
    assert found[0, 0] == pytest.approx(0.25, rel=0.06)  # 6,000 degrees of freedom: three standard errors
