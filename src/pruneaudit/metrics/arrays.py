"""The input of every metric: scores and membership of the same shape, NaN where a sample is not scored."""

# V victims, N samples

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pruneaudit.core.errors import UserError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_THREADS = 8
SMALLEST_FOR_THREADS = 500_000
"""Below this many scores threads cost more than they save."""


class PerVictim(NamedTuple):
    """A metric of every victim, with each sample's contribution to its error."""

    values: Floats
    """(V,) the metric; NaN where the victim has no scored member or no scored non-member."""
    influence: Floats
    """(V, N), scaled so that the squares of a row sum to the victim's sampling variance. 0 where a sample is not
    scored; NaN with fewer than two members or non-members, because the variance is then unknown."""


def checked(scores: ArrayLike, member: ArrayLike) -> tuple[Floats, Bools]:
    """Scores as float64 (V, N) and membership as bool (V, N).

    Args:
        scores: (V, N), higher = more likely a member; NaN = not scored or not eligible.
        member: (V, N) bool.

    Raises:
        UserError: the shapes differ, are not (victims, samples), or membership is not bool.
    """
    rows, truth = np.asarray(scores, dtype=np.float64), np.asarray(member)
    if rows.ndim != 2 or rows.shape != truth.shape:
        raise UserError(
            f"scores have shape {rows.shape} and member has shape {truth.shape}, expected (victims, samples) for both: "
            "pass one row per victim, in the same order of samples"
        )
    if truth.dtype != np.bool_:
        raise UserError(f"member has type {truth.dtype}, expected bool: pass member.astype(bool)")
    return rows, truth


def spread(deviations: Floats) -> Floats:
    """Deviations from their mean, scaled so that their squares sum to the variance of that mean.

    Args:
        deviations: (n,) of n independent samples. NaN for a single one, whose spread is unknown.
    """
    count = deviations.size
    return deviations / np.sqrt(count * (count - 1)) if count > 1 else np.full(count, np.nan)


def sums_of_squares(rows: Floats) -> Floats:
    """Sum of the squares of each row of (V, N), (V,), without an array of squares."""
    return np.asarray(np.einsum("vn,vn->v", rows, rows))


def for_each(work: Callable[[int], None], num_items: int, num_scores: int) -> None:
    """Calls `work` with 0, 1, ... `num_items` - 1, in threads if there is enough to do.

    Calls must be independent and write to separate places, so that results depend neither on the number of threads
    nor on their order.

    Args:
        work: processes one item, mostly in NumPy, which lets other threads run.
        num_items: the number of calls.
        num_scores: the total number of scores that they process.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_threads = min(MAX_THREADS, available, num_items)
    if num_threads < 2 or num_scores < SMALLEST_FOR_THREADS:
        for item in range(num_items):
            work(item)
        return
    with ThreadPoolExecutor(num_threads) as threads:
        for _ in threads.map(work, range(num_items)):  # raises the errors of calls
            pass
