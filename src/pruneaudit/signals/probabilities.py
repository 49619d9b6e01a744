"""The resolution of given class probabilities, and phi from them.

phi = ln p_y - ln(1 - p_y) uses only the given value: rounded rows are not normalised again, and
1 - p_y is not replaced by the sum of the others, which rounding distorts. An exact 0 or 1 would make phi infinite.
It only means "closer than the resolution", so it is moved inwards by half of the smallest step of the data: the step of
rounding to d decimals, 1 / num_trees of a forest, or the last bit of a floating-point number.
"""

# n values, M models, N samples, C classes

from __future__ import annotations

import numpy as np

MOST_STEPS = 2000
"""Every grid of 1 / k up to this k is tried; beyond it, only decimals."""
DECIMALS = (10**4, 10**5, 10**6)
FINE_DECIMALS = tuple(10**d for d in range(7, 13))
"""Decimals that only float64 can represent."""
NUM_LOOKED_AT = 2**16
NUM_SEARCHED = 1000
ON_THE_GRID = 0.999
"""Share of the values that must be on a grid: a few may have been edited by hand."""
_COARSE_ERROR, _FINE_ERROR = 2e-7, 1e-15
_CHANCE = 1e-5
_AT_ONCE = 64
"""Number of values tried on all grids at a time."""


def grid_of(values: np.ndarray) -> int:
    """The smallest number of equal steps between 0 and 1 whose grid contains the values; 0 if there is none.

    Args:
        values: probabilities of any shape. Exact zeros and ones are on every grid.

    Returns:
        k: the values are multiples of 1 / k. 1 if all of them are 0 or 1.
    """
    flat = values.reshape(-1)
    if flat.size > NUM_LOOKED_AT:
        flat = flat[np.random.default_rng(0).integers(flat.size, size=NUM_LOOKED_AT)]
    between, counts = np.unique(flat[(flat > 0) & (flat < 1)].astype(np.float64), return_counts=True)
    if not between.size:
        return 1
    few = slice(None, None, -(-between.size // NUM_SEARCHED))
    known = [*range(2, MOST_STEPS + 1), *DECIMALS]
    fine = FINE_DECIMALS if values.dtype == np.float64 else ()
    steps = np.array([*known, *fine])
    errors = np.repeat([_COARSE_ERROR, _FINE_ERROR], [len(known), len(fine)])
    for place in _hold(between[few], counts[few], steps, errors):
        if _hold(between, counts, steps[[place]], errors[[place]]).size:
            return int(steps[place])
    return 0


def _hold(values: np.ndarray, counts: np.ndarray, steps: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Which grids (k,) contain nearly all values (weighted by their counts) as inner points, and not by chance.

    Args:
        values: strictly between 0 and 1 (n,).
        counts: how often each occurs (n,).
        steps: the number of steps of each grid (k,).
        errors: largest distance of a value from a multiple of 1 / steps (k,).

    Returns:
        Indices into `steps`, ascending. Most grids are excluded after the first few values.
    """
    tolerance = steps * errors
    left = np.flatnonzero(values.size * np.log(np.minimum(2 * tolerance, 1.0)) <= np.log(_CHANCE))
    needed = ON_THE_GRID * counts.sum()
    within = np.full(len(steps), counts.sum())
    for start in range(0, values.size, _AT_ONCE):
        if not left.size:
            break
        part = slice(start, start + _AT_ONCE)
        places = values[part, None] * steps[left]
        nearest = np.rint(places)
        # A value that rounds to 0 or 1 on the grid, but is neither, is finer than the grid.
        fits = (np.abs(places - nearest) <= tolerance[left]) & (nearest > 0) & (nearest < steps[left])
        within[left] -= counts[part] @ ~fits
        left = left[within[left] >= needed]
    return left


def resolution_of(probabilities: np.ndarray) -> np.ndarray:
    """The smallest step of the probabilities next to 0 and next to 1, (2,) float64.

    On a grid (rounded to decimals, votes of trees) it is the grid's step at both ends. Otherwise, if there are exact
    zeros (ones), it is the smallest other distance from that end; without them, the last bit of the type.
    """
    steps = grid_of(probabilities)
    if steps:
        return np.full(2, 1 / steps)
    kind = np.finfo(probabilities.dtype)
    at_zero, at_one = float(kind.smallest_normal), float(kind.epsneg)
    if (probabilities == 0).any():
        at_zero = float(probabilities[probabilities > 0].min())
    if (probabilities == 1).any():
        at_one = float(1 - probabilities[probabilities < 1].astype(np.float64).max())
    return np.array([at_zero, at_one])


def limits(resolution: np.ndarray) -> tuple[float, float]:
    """The values that replace 0 and 1: half of the resolution (2,) inwards."""
    return float(resolution[0]) / 2, 1 - float(resolution[1]) / 2


def is_floored(probability: np.ndarray, resolution: np.ndarray) -> np.ndarray:
    """Whether each probability, of any shape, is too close to 0 or 1 to be distinguished from it."""
    lowest, highest = limits(resolution)
    return np.asarray((probability <= lowest) | (probability >= highest))


def logit(probability: np.ndarray, resolution: np.ndarray) -> np.ndarray:
    """Ln p - ln(1 - p) in float64 of probabilities of any shape, kept half a resolution away from 0 and 1."""
    lowest, highest = limits(resolution)
    p = np.clip(probability.astype(np.float64), lowest, highest)
    return np.asarray(np.log(p) - np.log1p(-p))
