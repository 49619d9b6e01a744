"""What every metric takes: scores and membership of the same shape, NaN where a sample is not scored."""

# V victims, N samples

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pruneaudit.errors import UserError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class PerVictim(NamedTuple):
    """A metric of every victim, with what each sample contributes to its error."""

    values: Floats
    """(V,) the metric; NaN where the victim has no scored member or no scored non-member."""
    influence: Floats
    """(V, N) so scaled that the squares of a row sum to the victim's sampling variance.
    0 where a sample is not scored; NaN where fewer than two members or non-members leave the variance unknown."""


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
        deviations: (n,) of n independent samples. A single one says nothing of its spread: NaN.
    """
    count = deviations.size
    return deviations / np.sqrt(count * (count - 1)) if count > 1 else np.full(count, np.nan)
