"""Recognises the kind of numbers per class: logits, or something else given in their place.

Probabilities attacked as logits look private. Single rows can be misleading: values can be
rounded, and a row can be empty. So most of a model's rows decide.
"""

# n samples, C classes

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruneaudit.signals.probabilities import grid_of

MOST = 0.5
"""The kind of more than this share of a model's rows is the model's."""
SUM_ERROR = 0.01
"""Largest error of the sum of a row of unrounded probabilities, including float16 and bfloat16."""
MOST_ROUNDING = 0.5
"""Largest additional error by rounding: ten classes at one decimal."""
PERCENT = 100


@dataclass(frozen=True)
class Recognised:
    """The recognised kind of one model's numbers."""

    kind: str
    """`logits`, `log-probabilities`, `probabilities`, `hard labels` or `parts` (percent, votes)."""
    share: float
    """Share of the rows of this kind."""
    total: float = 1.0
    """Sum of the rows of `parts`."""


def recognised(rows: np.ndarray) -> Recognised:
    """The kind of one model's numbers (n, C); `logits` if nothing else fits."""
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
    """Which rows (n, C) are natural logarithms of probabilities, with -inf for 0; (n,) bool."""
    below = np.asarray((rows <= SUM_ERROR).all(axis=1))
    if not below.any():
        return below
    below[below] = sums_to_one(np.exp(rows[below].astype(np.float64)))
    return below


def is_one_probability(values: np.ndarray) -> str:
    """The kind of one number per sample (n,): `probabilities`, `percent`, or empty for logits of class 1."""
    if np.mean((values >= 0) & (values <= 1)) >= 1 - SUM_ERROR and np.ptp(values) > 0:
        return "probabilities"
    if np.mean((values >= 0) & (values <= PERCENT)) >= 1 - SUM_ERROR and values.max() > PERCENT / 2:
        return "percent"
    return ""


def _error_to_allow(distances: np.ndarray, rows: np.ndarray) -> float:
    """`_sum_error` of the rows; searches their grid only if the distances do not already decide."""
    undecided = (distances > SUM_ERROR) & (distances <= SUM_ERROR + MOST_ROUNDING)
    return _sum_error(rows) if undecided.any() else SUM_ERROR


def _sum_error(rows: np.ndarray) -> float:
    """Largest error of the sum of a row of C values: half a step of their grid for each."""
    inside = rows[((rows >= 0) & (rows <= 1)).all(axis=1)]
    steps = grid_of(inside) if inside.size else 0
    rounding = rows.shape[1] / (2 * steps) if steps > 1 else 0.0
    return SUM_ERROR + min(rounding, MOST_ROUNDING)
