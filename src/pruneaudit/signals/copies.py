"""Finds a model that was given twice: it would be its own reference, and the audit would find false leaks."""

# M models of one file, K of the other, N samples

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals

PROBED = 64
"""Number of samples for a first comparison of all pairs of models; pairs that agree are compared on all samples."""
PROBE_TOLERANCE = 1e-3
ALIKE = 1e-5
"""Largest difference, in standard deviations of a model's answers, that counts as rounding."""


MASKED = -1e30
"""Lower logits mean a probability of 0, and are ignored in the spread of answers."""


def first_copy(one: Signals, other: Signals, compared: np.ndarray) -> tuple[int, int] | None:
    """The first two models with the same answers to all samples, up to rounding.

    Models with the same answer to every sample (collapsed networks) do not count as copies: they leak nothing.
    Predicted classes are not compared, because different models can agree on them.

    Args:
        one: M models.
        other: K models on the same samples.
        compared: (M, K) bool, the pairs to compare.

    Returns:
        A row of each; None without copies.
    """
    if one.predicted is not None or other.predicted is not None:
        return None
    by_phi = (one.logits is None) != (other.logits is None)  # logits and probabilities

    def answers(signals: Signals, row: int, samples: np.ndarray | slice = slice(None)) -> np.ndarray:
        values = signals.probabilities if signals.logits is None else signals.logits
        if by_phi or values is None:
            return signals.plain_phi(row, samples)[:, None]
        return np.asarray(values[row, samples].astype(np.float64))

    probed = np.unique(np.linspace(0, one.num_samples - 1, PROBED).astype(int))
    few = np.stack([answers(other, row, probed) for row in range(other.num_models)])  # (K, n, C)
    for row in np.flatnonzero(compared.any(axis=1)).tolist():
        own = few[row] if one is other else answers(one, row, probed)
        near = np.abs(few - own).max(axis=(1, 2)) <= PROBE_TOLERANCE * (1 + np.abs(own).max())
        candidates = np.flatnonzero(near & compared[row]).tolist()
        values = answers(one, row) if candidates else own
        if (values == values[0]).all():
            continue
        for candidate in candidates:
            if np.abs(answers(other, candidate) - values).max() <= ALIKE * values[values > MASKED].std():
                return row, candidate
    return None


def equal_labels(signals: Signals) -> tuple[int, int] | None:
    """The first two models that predict the same class for every sample; None without `predicted`."""
    seen: dict[bytes, int] = {}
    for row, classes in enumerate(() if signals.predicted is None else signals.predicted):
        earlier = seen.setdefault(np.ascontiguousarray(classes).tobytes(), row)
        if earlier != row:
            return earlier, row
    return None
