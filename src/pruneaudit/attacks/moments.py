"""Mean and spread over the references that each victim may use, for all victims at once.

A victim's references are all allowed ones but itself. Rather than gathering them per victim, one
matrix product per moment sums them for every victim: O(V K N) multiplications in BLAS, no array
larger than (V, N).
"""

# V victims, K references, N samples

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and within-sample squared deviations of each victim's chosen references."""

    count: np.ndarray  # (V, N)
    mean: np.ndarray  # (V, N), NaN where count is 0
    squares: np.ndarray  # (V, N), sum of squared deviations from the mean

    def pooled_variance(self, counted: np.ndarray) -> np.ndarray:
        """Within-sample variance pooled over samples, one per victim.

        Args:
            counted: (N,) bool, the samples to pool over.

        Returns:
            (V, 1): sum of squares over sum of (count - 1); NaN when no sample has two references.
        """
        freedom = np.maximum(self.count[:, counted] - 1, 0).sum(axis=1, keepdims=True)
        return np.divide(
            self.squares[:, counted].sum(axis=1, keepdims=True),
            freedom,
            out=np.full(freedom.shape, np.nan),
            where=freedom > 0,
        )

    def sample_variance(self) -> np.ndarray:
        """Unbiased variance (V, N) per victim and sample; NaN with fewer than two references."""
        return np.divide(self.squares, self.count - 1, out=np.full(self.squares.shape, np.nan), where=self.count > 1)


def moments(values: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> Moments:
    """Moments of `values` over the references that are both chosen (per sample) and allowed (per victim).

    Args:
        values: (K, N) float64.
        chosen: (K, N) bool, such as the members.
        allowed: (V, K) bool.
    """
    weights = allowed.astype(np.float64)
    # Centred on all models first: the sums of squares then lose nothing to cancellation.
    centre = values.mean(axis=0)
    centred = np.where(chosen, values - centre, 0.0)
    count = weights @ chosen.astype(np.float64)
    total = weights @ centred
    offset = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    squares = weights @ centred**2 - np.where(count > 0, total * offset, 0.0)
    return Moments(count, offset + centre, np.maximum(squares, 0.0))


def means(values: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Mean of non-negative `values` over the references that are both chosen and allowed.

    Nothing is centred: a sum of probabilities keeps its relative precision down to the smallest, of
    which `moments` would leave only what stands out from the largest.

    Args:
        values: (K, N) float64, 0 or more.
        chosen: (K, N) bool.
        allowed: (V, K) bool.

    Returns:
        (V, N) float64; NaN where no reference is both.
    """
    weights = allowed.astype(np.float64)
    count = weights @ chosen.astype(np.float64)
    total = weights @ np.where(chosen, values, 0.0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
