"""Mean and spread over the references that each victim may use, for all victims at once.

A victim's references are all allowed ones except itself. One matrix product per moment sums them for
all victims, instead of gathering them per victim: O(V K N) multiplications in BLAS, no array larger
than (V, N). Samples are processed in blocks, so that intermediate arrays stay small.
"""

# V victims, K references, N samples

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pruneaudit.metrics.arrays import for_each

SAMPLES_AT_ONCE = 2048
"""Block size, the same on every machine: the division into blocks can change the last digit of a sum."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and within-sample squared deviations of each victim's chosen references."""

    count: np.ndarray  # (V, N)
    mean: np.ndarray  # (V, N), NaN where count is 0
    squares: np.ndarray  # (V, N), sum of squared deviations from the mean

    def by_victim(self) -> Iterator[Moments]:
        """Yields the moments of each victim, (1, N)."""
        for victim in range(len(self.count)):
            row = slice(victim, victim + 1)
            yield Moments(self.count[row], self.mean[row], self.squares[row])

    def pooled_variance(self, counted: np.ndarray) -> np.ndarray:
        """Within-sample variance pooled over samples, one per victim.

        Args:
            counted: (N,) bool, the samples to pool over.

        Returns:
            (V, 1): sum of squares over sum of (count - 1); NaN when no sample has two references.
        """
        count, squares = (
            (self.count, self.squares) if counted.all() else (self.count[:, counted], self.squares[:, counted])
        )
        freedom = np.maximum(count - 1, 0).sum(axis=1, keepdims=True)
        return np.divide(
            squares.sum(axis=1, keepdims=True),
            freedom,
            out=np.full(freedom.shape, np.nan),
            where=freedom > 0,
        )

    def total_variance(self, counted: np.ndarray) -> np.ndarray:
        """Variance of all values of a victim, including the spread between samples, (V, 1); divides by n."""
        count = self.count[:, counted]
        mean = np.where(count > 0, self.mean[:, counted], 0.0)
        total = np.maximum(count.sum(axis=1, keepdims=True), 1)
        grand = (count * mean).sum(axis=1, keepdims=True) / total
        between = (count * (mean - grand) ** 2).sum(axis=1, keepdims=True)
        return np.asarray((self.squares[:, counted].sum(axis=1, keepdims=True) + between) / total)

    def sample_variance(self) -> np.ndarray:
        """Unbiased variance (V, N) per victim and sample; NaN with fewer than two references."""
        return np.divide(self.squares, self.count - 1, out=np.full(self.squares.shape, np.nan), where=self.count > 1)


def averaged(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of arrays of one shape, such as the scores of each query. Takes them one at a time, and overwrites them."""
    several = iter(parts)
    total, number = next(several), 1
    for part in several:
        total += part
        number += 1
    total /= number
    return total


def moments(values: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> Moments:
    """Moments of `values` over the references that are both chosen (per sample) and allowed (per victim).

    Args:
        values: (K, N) float64.
        chosen: (K, N) bool, such as the members.
        allowed: (V, K) bool.
    """
    weights = allowed.astype(np.float64)
    found = Moments(*(np.empty((len(allowed), values.shape[1])) for _ in range(3)))

    def add(part: slice) -> None:
        # Centred on all models first: the sums of squares then lose nothing to cancellation.
        centre = values[:, part].mean(axis=0)
        centred = np.where(chosen[:, part], values[:, part] - centre, 0.0)
        count = weights @ chosen[:, part].astype(np.float64)
        total = weights @ centred
        offset = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
        squares = weights @ centred**2 - np.where(count > 0, total * offset, 0.0)
        found.count[:, part], found.mean[:, part] = count, offset + centre
        np.maximum(squares, 0.0, out=found.squares[:, part])

    _in_parts(add, found.count.shape)
    return found


def means(values: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Mean of non-negative `values` over the references that are both chosen and allowed.

    Values are not centred: a plain sum of probabilities keeps the relative precision of small ones.
    Centring, as in `moments`, would lose it next to large ones.

    Args:
        values: (K, N) float64, 0 or more.
        chosen: (K, N) bool.
        allowed: (V, K) bool.

    Returns:
        (V, N) float64; NaN where no reference is both chosen and allowed.
    """
    weights = allowed.astype(np.float64)
    found = np.full((len(allowed), values.shape[1]), np.nan)

    def add(part: slice) -> None:
        count = weights @ chosen[:, part].astype(np.float64)
        total = weights @ np.where(chosen[:, part], values[:, part], 0.0)
        np.divide(total, count, out=found[:, part], where=count > 0)

    _in_parts(add, found.shape)
    return found


def _in_parts(work: Callable[[slice], None], shape: tuple[int, ...]) -> None:
    """Calls `work` with blocks of the samples of (V, N), in threads."""
    starts = range(0, shape[1], SAMPLES_AT_ONCE)
    for_each(lambda index: work(slice(starts[index], starts[index] + SAMPLES_AT_ONCE)), len(starts), math.prod(shape))


def medians(values: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Median over the references that are both chosen and allowed, (V, N); NaN where none is.

    A median is not a sum: this takes O(V K N) and sorts for every victim.

    Args:
        values: (K, N) float64.
        chosen: (K, N) bool.
        allowed: (V, K) bool.
    """
    found = []
    for mine in allowed:
        ranked = np.sort(np.where(chosen & mine[:, None], values, np.inf), axis=0)  # (K, N), unchosen last
        count = (chosen & mine[:, None]).sum(axis=0)
        low, high = np.maximum((count - 1) // 2, 0), count // 2
        columns = np.arange(values.shape[1])
        middle = (ranked[low, columns] + ranked[np.minimum(high, len(ranked) - 1), columns]) / 2
        found.append(np.where(count > 0, middle, np.nan))
    return np.stack(found)


def pooled_covariance(phi: np.ndarray, chosen: np.ndarray, allowed: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Within-sample covariance of the queries, pooled over samples, one matrix per victim.

    Args:
        phi: (K, N, Q) float64.
        chosen: (K, N) bool.
        allowed: (V, K) bool.
        counted: (N,) bool, the samples to pool over.

    Returns:
        (V, Q, Q); NaN where no sample has two references.
    """
    weights = allowed.astype(np.float64)
    inside = chosen[:, counted]
    centred = np.where(inside[..., None], phi[:, counted] - phi[:, counted].mean(axis=0), 0.0)  # (K, N, Q)
    count = weights @ inside.astype(np.float64)  # (V, N)
    freedom = np.maximum(count - 1, 0).sum(axis=1)  # (V,)
    totals = [weights @ centred[..., query] for query in range(phi.shape[2])]  # Q times (V, N)
    result = np.full((len(allowed), phi.shape[2], phi.shape[2]), np.nan)
    for q in range(phi.shape[2]):
        for p in range(q + 1):
            products = weights @ (centred[..., q] * centred[..., p])  # (V, N)
            within = products - totals[q] * totals[p] / np.maximum(count, 1)
            pooled = np.divide(within.sum(axis=1), freedom, out=np.full(len(allowed), np.nan), where=freedom > 0)
            result[:, q, p] = result[:, p, q] = pooled
    return result
