"""Do members and others differ before any model looks? Shifted inputs are found, equal ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from pruneaudit.data import SOURCES
from pruneaudit.evaluation.input_difference import MAX_COLUMNS, features, input_difference

# N samples


def of(x, y, member, counted=None):
    return input_difference(x, y, member, np.ones(len(y), bool) if counted is None else counted)


@pytest.fixture(scope="module")
def digits():
    """Images (N, 1, 8, 8), labels, and coins that know nothing of them."""
    raw, rng = SOURCES.get("digits").load(None, None), np.random.default_rng(0)
    rows = rng.permutation(len(raw.y))[:1000]
    return raw.x[rows], raw.y[rows], rng.random(1000) < 0.5


def changed(x, member, how):
    return np.where(member[:, None, None, None], how(x.astype(np.float32)).astype(x.dtype), x)


def test_equal_inputs_do_not_differ(digits):
    found = of(*digits)
    assert not found.differs
    assert found.num_members == digits[2].sum()
    assert found.auc.low < 0.5 < found.auc.high
    assert found.auc.high - found.auc.low < 0.15


@pytest.mark.parametrize(
    "how",
    [
        lambda x: np.roll(x, 1, axis=3),  # shifted by a pixel
        lambda x: (x + np.roll(x, 1, axis=2) + np.roll(x, 1, axis=3)) / 3,  # blurred
        lambda x: np.round(x / 32) * 31,  # coarse levels, as strong compression gives
        lambda x: x * 0.9,  # darker
    ],
    ids=["shifted", "blurred", "coarse", "darker"],
)
def test_images_on_another_path_are_found(digits, how):
    x, y, member = digits
    found = of(changed(x, member, how), y, member)
    assert found.differs
    assert found.auc.low > 0.8


def test_shifted_columns_and_unequal_labels_of_tables_are_found():
    rng = np.random.default_rng(1)
    x, y, member = rng.normal(size=(1000, 20)), rng.integers(5, size=1000), rng.random(1000) < 0.5
    assert not of(x, y, member).differs
    shifted = x + 0.7 * (member[:, None] & (np.arange(20) == 3))
    assert of(shifted, y, member).auc.low > 0.52
    assert of(x, np.where(member & (y == 4), 0, y), member).auc.low > 0.52


def test_only_counted_samples_matter(digits):
    x, y, member = digits
    counted = np.arange(len(y)) < 600
    other = np.where(counted[:, None, None, None], x, 255 - x)
    assert of(x, y, member, counted) == of(other, y, member, counted)


def test_few_samples_are_not_judged(digits):
    x, y, member = digits
    assert of(x, y, member, np.cumsum(member) <= 99) is None
    assert of(x, y, member, np.cumsum(~member) <= 99) is None


def test_wide_tables_and_images_of_any_size_have_few_features():
    rng = np.random.default_rng(0)
    assert features(rng.normal(size=(3, 5000)), rng).shape == (3, MAX_COLUMNS + 3)
    for shape in ((1, 1, 1), (3, 2, 5), (3, 33, 17), (3, 64, 64)):
        found = features(rng.integers(0, 256, (4, *shape), dtype=np.uint8), rng)
        assert found.shape[0] == 4
        assert found.shape[1] <= 3 * (64 + 13)
        assert np.isfinite(found).all()
    image = rng.normal(size=(1, 1, 8, 8))
    np.testing.assert_allclose(features(image, rng)[0, :64], image.ravel(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [300, 1000])
def test_without_a_difference_the_interval_contains_one_half(num_samples):
    covered, values = 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(num_samples, 10)), rng.integers(3, size=num_samples)
        found = input_difference(x, y, rng.random(num_samples) < 0.5, np.ones(num_samples, bool), seed)
        covered += not found.differs
        values.append(found.auc.value)
    assert covered >= 182  # 95% of 200 is 190, with a standard deviation of 3.1
    assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(200)
