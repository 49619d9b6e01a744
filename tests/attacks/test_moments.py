"""Sums for all victims at once against a loop over victims, samples and references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pruneaudit.attacks.moments as whole
from pruneaudit.attacks import ranks
from pruneaudit.attacks.moments import averaged, means, moments

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


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_samples_taken_in_blocks_are_samples_all_the_same(at_once, monkeypatch):
    rng = np.random.default_rng(4)
    values, chosen, allowed = rng.normal(size=(9, 50)), rng.random((9, 50)) < 0.5, rng.random((5, 9)) < 0.7
    values[:, 20] += 1e6
    monkeypatch.setattr(whole, "SAMPLES_AT_ONCE", at_once)
    found, mean = moments(values, chosen, allowed), means(np.exp(-np.abs(values)), chosen, allowed)
    for n in range(50):
        alone = moments(values[:, n : n + 1], chosen[:, n : n + 1], allowed)
        np.testing.assert_array_equal(found.count[:, n], alone.count[:, 0])
        np.testing.assert_allclose(found.mean[:, n], alone.mean[:, 0], rtol=1e-12)
        np.testing.assert_allclose(found.squares[:, n], alone.squares[:, 0], rtol=1e-8)
        np.testing.assert_allclose(
            mean[:, n], means(np.exp(-np.abs(values[:, n : n + 1])), chosen[:, n : n + 1], allowed)[:, 0]
        )


def test_victim_by_victim_nothing_is_lost():
    rng = np.random.default_rng(5)
    found = moments(rng.normal(size=(6, 20)), rng.random((6, 20)) < 0.5, ~np.eye(6, dtype=bool))
    parts = list(found.by_victim())
    for name in ("count", "mean", "squares"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(found, name))
    for counted in (np.ones(20, bool), np.arange(20) < 8):
        separate = [part.pooled_variance(counted)[0, 0] for part in parts]
        np.testing.assert_allclose(separate, found.pooled_variance(counted)[:, 0], rtol=1e-12)


def test_the_average_over_queries():
    parts = np.random.default_rng(6).normal(size=(3, 4, 5))
    parts[1, 0, 0] = np.nan
    np.testing.assert_allclose(averaged(part.copy() for part in parts), parts.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(averaged([parts[0].copy()]), parts[0])


@pytest.mark.parametrize(("num_references", "at_once"), [(3, 4), (300, 8), (510, 64)])  # 255 is where bytes are full
def test_counts_of_references_below_against_loops(num_references, at_once, monkeypatch):
    monkeypatch.setattr(ranks, "SAMPLES_AT_ONCE", at_once)
    rng = np.random.default_rng(7)
    phi, references = np.round(rng.normal(size=(4, 10)), 1), np.round(rng.normal(-1, 1, size=(num_references, 10)), 1)
    references[rng.random(references.shape) < 0.1] = np.inf
    phi[:, 0] = 9.0
    allowed = rng.random((4, num_references)) < 0.8
    allowed[0] = True
    found = ranks._below(phi, references, allowed)
    for v in range(4):
        for n in range(10):
            assert found[v, n] == sum(
                bool(r < phi[v, n]) for r, use in zip(references[:, n], allowed[v], strict=True) if use
            )
