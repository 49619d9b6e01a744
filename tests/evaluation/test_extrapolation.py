"""LiRA's AUC with more references: the law, what it refuses, and its interval."""

import numpy as np
import pytest
import scipy

from pruneaudit.evaluation.extrapolation import extrapolated, fitted_counts, forms
from pruneaudit.metrics import PerVictim

# V victims, N samples


def law(shift, count):
    """AUC of a likelihood ratio whose means are estimated from `count` references; `shift` is theta squared."""
    return scipy.stats.norm.cdf(shift / np.sqrt(shift + 4 / count) / np.sqrt(2))


def measured(areas, error=1e-4, num_victims=12, seed=0):
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(num_victims, 50))
    influence = error * spread / np.sqrt((spread**2).sum(axis=1, keepdims=True))
    jitter = error * rng.normal(size=num_victims)
    jitter -= jitter.mean()
    return {count: PerVictim(area + jitter, influence) for count, area in areas.items()}


@pytest.mark.parametrize("shift", [0.05, 0.8])
def test_it_finds_the_law_that_made_the_areas(shift):
    known = measured({count: law(shift, count) for count in (8, 16, 27)})
    for at, found in zip((54, 128, 216), extrapolated(known, (54, 128, 216), 0), strict=True):
        assert found.value == pytest.approx(law(shift, at), abs=1e-9)
        assert found.low < found.value < found.high
        assert found.suppressed == ""


def test_the_interval_spans_all_three_forms():
    areas = {16: 0.74, 32: 0.75}
    found = extrapolated(measured(areas, error=1e-7), (128,), 0)[0]
    by_hand = [0.75 + 0.01 / (1 / 16 - 1 / 32) * (1 / 32 - 1 / 128)]
    by_hand.append(0.75 + 0.01 / (16**-0.5 - 32**-0.5) * (32**-0.5 - 128**-0.5))
    assert forms(np.array([0.74, 0.75]), (16, 32), 128)[1:] == pytest.approx(by_hand)
    assert found.low == pytest.approx(min(found.value, *by_hand), abs=1e-4)
    assert found.high == pytest.approx(max(found.value, *by_hand), abs=1e-4)


def test_a_refusal_has_its_reason():
    known = measured({count: law(0.5, count) for count in (8, 16, 27)})
    near, far, inside = extrapolated(known, (216, 217, 20), 0)
    assert near.suppressed == "" and not np.isnan(near.value)
    assert "217" in far.suppressed and "8 times 27" in far.suppressed and np.isnan(far.value)
    assert "27" in inside.suppressed and np.isnan(inside.value)
    few = extrapolated(dict.fromkeys((2, 4, 8), known[8]), (16,), 0)[0]
    assert "12" in few.suppressed and np.isnan(few.high)
    weak = extrapolated(measured({16: 0.501, 27: 0.502}, error=0.002), (54,), 0)[0]
    assert "16" in weak.suppressed and "standard error" in weak.suppressed


def test_it_fits_two_numbers_that_are_far_enough_apart():
    assert fitted_counts((1, 2, 4, 8, 16, 27))[0] == (16, 27)
    assert fitted_counts((1, 2, 4, 8, 16, 17))[0] == (8, 17)
    assert fitted_counts((1, 2, 4, 8, 12))[0] == (8, 12)
    assert fitted_counts((1, 2, 4, 8, 11))[1]
