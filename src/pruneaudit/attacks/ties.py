"""Breaks ties of scores that take few values, such as ranks, by a second number, by less than one step."""

import numpy as np

TIE_STEP = 1e-7
"""The most that breaking a tie moves a score: less than one step of a rank among a million."""


def tie_break(values: np.ndarray) -> np.ndarray:
    """Returns what to add to tied scores so that they rank as `values` do; any shape, float64.

    It grows with the logarithm of large values: float32 numbers that differ still differ at a million.

    Returns:
        Numbers in (-TIE_STEP, TIE_STEP), NaN where `values` are.
    """
    size = np.log1p(np.abs(values))
    return np.asarray(np.copysign(TIE_STEP * size / (1 + size), values))
