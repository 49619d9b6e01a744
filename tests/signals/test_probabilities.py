"""Probabilities as they are: how finely they are given, what a 0 and a 1 count as, and phi from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.signals.probabilities import grid_of, is_floored, logit, resolution_of
from pruneaudit.signals.signals import Signals


def softmax(seed=0, shape=(4, 200, 5), scale=3.0):
    z = np.random.default_rng(seed).normal(size=shape) * scale
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_to_decimals_is_found(decimals, dtype):
    values = softmax().round(decimals).astype(dtype)
    assert grid_of(values) == 10**decimals
    np.testing.assert_array_equal(resolution_of(values), [10.0**-decimals] * 2)


@pytest.mark.parametrize("trees", [2, 3, 7, 20, 137, 500])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_votes_of_trees_are_found(trees, dtype):
    votes = np.random.default_rng(trees).multinomial(trees, [0.5, 0.3, 0.15, 0.05], size=(3, 300))
    assert grid_of((votes / trees).astype(dtype)) == trees


def test_a_few_values_off_the_grid_do_not_hide_it():
    values = softmax(shape=(4, 2000, 5)).round(2)
    values[0, 0] = softmax()[0, 0]
    assert grid_of(values) == 100


def test_zeros_and_ones_alone_are_one_step():
    assert grid_of(np.eye(3)) == 1


@pytest.mark.parametrize("scale", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_softmax_lies_on_no_grid(scale, dtype):
    values = softmax(scale=scale).astype(dtype)
    assert grid_of(values) == 0
    at_zero, at_one = resolution_of(values.astype(np.float64 if dtype == np.float64 else np.float32))
    if (values == 1).any():
        assert at_one == 1 - values[values < 1].astype(float).max()
    if (values == 0).any():
        assert at_zero == values[values > 0].min()


def test_without_zeros_and_ones_the_type_says_how_fine_it_is():
    np.testing.assert_array_equal(
        resolution_of(softmax(scale=1).astype(np.float32)), [np.finfo(np.float32).smallest_normal, 2.0**-24]
    )
    assert resolution_of(softmax(scale=1))[1] == 2.0**-53


def test_a_one_of_float32_counts_as_half_of_its_last_bit():
    p = softmax(scale=30).astype(np.float32)
    assert (p == 1).any()
    assert resolution_of(p)[1] == 2.0**-24
    assert logit(np.float32(1), resolution_of(p)) == pytest.approx(np.log(2.0**25), rel=1e-6)


def test_zeros_and_ones_are_floored_at_half_a_step():
    p, resolution = np.array([0, 0.05, 0.5, 0.95, 1]), np.array([0.05, 0.05])
    expected = np.log([0.025 / 0.975, 0.05 / 0.95, 1, 0.95 / 0.05, 0.975 / 0.025])
    np.testing.assert_allclose(logit(p, resolution), expected, atol=1e-12)
    assert is_floored(p, resolution).tolist() == [True, False, False, False, True]


@given(
    p=hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1)),
    step=st.sampled_from([0.5, 0.05, 1e-3, 2.0**-24]),
)
def test_floors_are_finite_and_never_reverse_an_order(p, step):
    phi = logit(np.sort(p), np.array([step, step]))
    assert np.isfinite(phi).all()
    assert (np.diff(phi) >= 0).all()


def test_phi_is_the_log_odds_of_what_is_given_and_rows_are_not_normalised_again():
    p = softmax().round(1)
    p[..., 0] = p[..., 0].clip(0.1, 0.9)
    labels = np.zeros(200, dtype=int)
    member = np.random.default_rng(1).random((4, 200)) < 0.5
    signals = Signals(probabilities=p, labels=labels, member=member)
    np.testing.assert_allclose(signals.phi[..., 0], np.log(p[..., 0]) - np.log1p(-p[..., 0]), atol=1e-12)
    assert not signals.floored.any()


def test_double_precision_tells_apart_what_single_cannot():
    p = np.array([[[1 - 1e-9, 1e-9], [1 - 1e-12, 1e-12], [0.4, 0.6]]])
    signals = Signals(probabilities=p, labels=np.array([0, 0, 1]), member=np.array([[True, False, True]]))
    np.testing.assert_allclose(signals.phi[0, :2, 0], np.log([1e9, 1e12]), rtol=1e-5)
    assert signals.probabilities.dtype == np.float64


def test_a_resolution_may_be_given_and_changed():
    p = np.random.default_rng(0).multinomial(10, [0.6, 0.3, 0.1], size=(2, 50)) / 10
    given = {"labels": np.arange(50) % 3, "member": np.random.default_rng(1).random((2, 50)) < 0.5}
    found, told = Signals(probabilities=p, **given), Signals(probabilities=p, resolution=0.01, **given)
    assert found.resolution.tolist() == [0.1, 0.1]
    assert told.resolution.tolist() == [0.01, 0.01]
    np.testing.assert_array_equal(found.with_resolution(told.resolution).phi, told.phi)
    assert np.abs(told.phi).max() > np.abs(found.phi).max()
    some = found.take_models(np.array([1]))
    np.testing.assert_array_equal(some.phi, found.phi[[1]])
    np.testing.assert_array_equal(some.with_resolution(told.resolution).phi, told.phi[[1]])
    np.testing.assert_array_equal(some.floored, found.floored[[1]])
