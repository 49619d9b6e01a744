"""Several tests at once: Holm's step-down procedure, valid for any dependence of the tests."""

# n tests

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Bools, Floats


def holm_adjusted(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values (n,): the smallest family error at which each hypothesis is rejected.

    Args:
        p_values: (n,); NaN stays NaN, and counts as a test that rejects nothing.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)  # NaN last
    num = int(np.count_nonzero(~np.isnan(given)))
    adjusted = np.full(given.shape, np.nan)
    scaled = given[order[:num]] * (len(given) - np.arange(num))
    adjusted[order[:num]] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted


def holm(p_values: ArrayLike, family_error: float) -> Bools:
    """Which hypotheses Holm's procedure rejects, (n,) bool.

    Args:
        p_values: (n,), of any dependence; NaN is never rejected.
        family_error: probability of rejecting any true hypothesis.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(holm_adjusted(p_values) <= family_error)
