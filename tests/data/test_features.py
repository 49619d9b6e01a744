"""Principal components of inputs: functions of x alone, fitted on the given samples alone."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pruneaudit.data.features import NUM_COMPONENTS, input_features

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (500, 1, 8, 8)).astype(np.uint8)
TABLE = (RNG.normal(size=(500, 12)) @ RNG.normal(size=(12, 12)) * np.logspace(0, 3, 12)).astype(np.float32)
FITTED_ON = RNG.random(500) < 0.5


def test_images_against_an_exact_decomposition():
    found = input_features(IMAGES, FITTED_ON)
    assert (found.shape, found.dtype) == ((500, NUM_COMPONENTS), np.float32)
    _check_exact(IMAGES, FITTED_ON)


@pytest.mark.parametrize("shape", [(450, 1, 16, 16), (210, 3, 20, 20)])
def test_many_samples_of_many_numbers(shape):
    images = RNG.integers(0, 256, shape) * (RNG.random(shape) < np.linspace(0.1, 1, shape[-1]))
    _check_exact(images.astype(np.uint8), np.arange(len(images)) < 205)


def _check_exact(images, fitted_on):
    flat = images.reshape(len(images), -1).astype(float)
    exact = PCA(NUM_COMPONENTS, svd_solver="full").fit(flat[fitted_on]).transform(flat)
    exact /= exact[fitted_on].std(axis=0)
    found = input_features(images, fitted_on)
    signs = np.sign((found * exact).sum(axis=0))
    np.testing.assert_allclose(found * signs, exact, rtol=1e-3, atol=1e-3)


def test_columns_of_a_table_count_alike():
    found = input_features(TABLE, FITTED_ON)
    assert found.shape == (500, 12)
    np.testing.assert_allclose(found[FITTED_ON].std(axis=0), 1, atol=0.01)
    scaled = input_features(TABLE * np.float32([1000, *[1] * 11]), FITTED_ON)
    np.testing.assert_allclose(np.abs(scaled), np.abs(found), atol=1e-2)


@pytest.mark.parametrize("x", [IMAGES, TABLE], ids=["images", "table"])
def test_a_row_depends_on_itself_and_on_half_a_alone(x):
    before = input_features(x, FITTED_ON)
    other = x.copy()
    other[np.flatnonzero(~FITTED_ON)[1:]] = 0
    first = np.flatnonzero(~FITTED_ON)[0]
    np.testing.assert_allclose(input_features(other, FITTED_ON)[first], before[first], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(input_features(other, FITTED_ON)[FITTED_ON], before[FITTED_ON], rtol=1e-4, atol=1e-4)


def test_constant_columns_and_few_samples():
    table = TABLE.copy()
    table[:, 3] = 7
    found = input_features(table, FITTED_ON)
    assert np.isfinite(found).all() and found.shape == (500, 11)
    assert input_features(TABLE, np.arange(500) < 4).shape == (500, 3)
