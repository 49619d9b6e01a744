"""What numbers per class are: logits, or something else that was given in their place.

Probabilities that are attacked as if they were logits look private. Not every row needs to behave: values may be
rounded, and a row may be empty. So a model is judged by what most of its rows do.
"""

# n samples, C classes

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruneaudit.signals.probabilities import grid_of

MOST = 0.5
"""Share of a model's rows that decides what it says."""
SUM_ERROR = 0.01
"""How far a row of unrounded probabilities may sum from 1: float16 and bfloat16 included."""
MOST_ROUNDING = 0.5
"""The most that rounding may add to it: ten classes at one decimal."""
PERCENT = 100


@dataclass(frozen=True)
class Recognised:
    """What one model's numbers are taken for."""

    kind: str
    """`logits`, `log-probabilities`, `probabilities`, `hard labels` or `parts` (percent, votes)."""
    share: float
    """Share of the rows that behave so."""
    total: float = 1.0
    """What rows of `parts` sum to."""


def recognised(rows: np.ndarray) -> Recognised:
    """What the numbers (n, C) of one model are; `logits` where nothing else fits."""
    logs = is_log_probabilities(rows).mean() if (rows <= SUM_ERROR).all(axis=1).mean() > MOST else 0.0
    if logs > MOST:
        return Recognised("log-probabilities", float(logs))
    positive = np.isfinite(rows).all(axis=1) & (rows >= 0).all(axis=1)
    if positive.mean() <= MOST:
        return Recognised("logits", 1.0)
    sums = rows[positive].sum(axis=1, dtype=np.float64)
    total = float(np.median(sums[sums > 0])) if (sums > 0).any() else 0.0
    if total <= 0:
        return Recognised("logits", 1.0)
    scale = next((known for known in (1, PERCENT) if abs(total / known - 1) <= _sum_error(rows / known)), None)
    if scale is not None:
        share = sums_to_one(rows / scale).mean()
        if share > MOST:
            hard = scale == 1 and np.isin(rows, (0, 1)).all()
            kind = "hard labels" if hard else "probabilities" if scale == 1 else "parts"
            return Recognised(kind, float(share), float(scale))
    share = ((rows >= 0).all(axis=1) & (rows == np.rint(rows)).all(axis=1) & (rows.sum(axis=1) == total)).mean()
    if total > 1 and share > MOST and len(np.unique(rows[:, 0])) > 1:
        return Recognised("parts", float(share), total)
    return Recognised("logits", 1.0)


def sums_to_one(rows: np.ndarray) -> np.ndarray:
    """Which rows (n, C) are probabilities that sum to 1, up to their rounding; (n,) bool."""
    inside = ((rows >= 0) & (rows <= 1 + SUM_ERROR)).all(axis=1)
    distance = np.abs(rows.sum(axis=1, dtype=np.float64) - 1)
    return np.asarray(inside & (distance <= _error_to_allow(distance[inside], rows)))


def sums_above_one(rows: np.ndarray) -> np.ndarray:
    """Which rows (n, C) sum to more than probabilities can, up to their rounding; (n,) bool."""
    excess = rows.sum(axis=1, dtype=np.float64) - 1
    return np.asarray(excess > _error_to_allow(excess, rows))


def is_log_probabilities(rows: np.ndarray) -> np.ndarray:
    """Which rows (n, C) are natural logarithms of probabilities; -inf stands for 0. (n,) bool."""
    below = np.asarray((rows <= SUM_ERROR).all(axis=1))
    if not below.any():
        return below
    below[below] = sums_to_one(np.exp(rows[below].astype(np.float64)))
    return below


def is_one_probability(values: np.ndarray) -> str:
    """Whether one number per sample (n,) is no logit of class 1: `probabilities`, `percent`, or empty."""
    if np.mean((values >= 0) & (values <= 1)) >= 1 - SUM_ERROR and np.ptp(values) > 0:
        return "probabilities"
    if np.mean((values >= 0) & (values <= PERCENT)) >= 1 - SUM_ERROR and values.max() > PERCENT / 2:
        return "percent"
    return ""


def _error_to_allow(distances: np.ndarray, rows: np.ndarray) -> float:
    """`_sum_error` of the rows; their grid is looked for only where the distances leave it to decide."""
    undecided = (distances > SUM_ERROR) & (distances <= SUM_ERROR + MOST_ROUNDING)
    return _sum_error(rows) if undecided.any() else SUM_ERROR


def _sum_error(rows: np.ndarray) -> float:
    """How far a row of C values may sum from 1: half a step of their grid for each."""
    inside = rows[((rows >= 0) & (rows <= 1)).all(axis=1)]
    steps = grid_of(inside) if inside.size else 0
    rounding = rows.shape[1] / (2 * steps) if steps > 1 else 0.0
    return SUM_ERROR + min(rounding, MOST_ROUNDING)
