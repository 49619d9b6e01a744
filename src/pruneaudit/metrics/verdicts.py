"""Verdicts on single records: p-values, and lists of records with a bound on the share of wrong names.

The hypothesis about a record: the victim was not trained on it. Its p-value is the rank of its score among nulls,
samples that are known not to be members (Bates et al. 2023, arXiv 2104.08279):

    p = (1 + number of nulls that score at least as high) / (1 + number of nulls)

A non-member and the nulls are exchangeable, so P(p <= t) <= t for every distribution of scores, without any assumption
on tails. The cost is a floor: no p-value is below 1 / (1 + number of nulls).

Benjamini and Hochberg (1995) turn the p-values of N records into a list. It names the R records with the smallest
p-values, R being the largest number with p_(R) <= R q / N. The expected share of non-members among the named is then at
most q times the share of non-members among the N records. Ranks against one set of nulls depend on each other
positively, so this holds for them (the same paper). With the floor f a list has at least N f / q records, or none.

A list is one family of hypotheses: the records of one victim in one release, under one score.
"""

# V victims, N samples, Z nulls

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats

_ROUNDING = 1e-12
"""Relative error allowed in p <= R q / N: both sides are fractions, and equality counts."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The verdicts on the records of every victim."""

    p_values: Floats
    """(V, N) in (0, 1]; NaN where a record is not scored."""
    q_values: Floats
    """(V, N) in (0, 1]: the smallest rate at which the victim's list names the record; NaN where it is not scored."""
    named: Bools
    """(V, N) whether the victim's list names the record."""


def record_verdicts(scores: ArrayLike, nulls: ArrayLike, rate: float) -> Verdicts:
    """Names records of every victim; the expected share of non-members among the named is at most `rate`.

    Args:
        scores: (V, N), higher = more likely a member; NaN = not scored.
        nulls: (V, Z) scores of samples that are not members, by the same rule; NaN is ignored.
        rate: the false discovery rate in (0, 1).

    Raises:
        UserError: the shapes do not fit, a victim has no nulls, or the rate is outside (0, 1).

    Example:
        >>> found = record_verdicts([[5.0, 2.5, 0.0]], [[1.0, 2.0, 3.0]], rate=0.8)
        >>> found.p_values.tolist(), found.named.tolist()
        ([[0.25, 0.5, 1.0]], [[True, True, False]])
    """
    p_values = rank_p_values(scores, nulls)
    adjusted = q_values(p_values)
    return Verdicts(p_values, adjusted, named_at(adjusted, rate))


def rank_p_values(scores: ArrayLike, nulls: ArrayLike) -> Floats:
    """The p-value of every record: its rank among the nulls of the same victim. A tie counts against the record.

    Args:
        scores: (V, N), higher = more likely a member; NaN = not scored.
        nulls: (V, Z); NaN is ignored.

    Returns:
        (V, N) in [1 / (1 + Z), 1]; NaN where a record is not scored.

    Raises:
        UserError: the shapes do not fit, or a victim has no nulls.
    """
    rows, others = np.asarray(scores, dtype=np.float64), np.asarray(nulls, dtype=np.float64)
    if rows.ndim != 2 or others.ndim != 2 or len(rows) != len(others):
        raise UserError(
            f"scores have shape {rows.shape} and nulls have shape {others.shape}, expected (victims, samples) and"
            " (victims, nulls): pass one row per victim in both"
        )
    found = np.full(rows.shape, np.nan)
    for row, own, p_values in zip(rows, others, found, strict=True):
        known = np.sort(own[~np.isnan(own)])
        if not known.size:
            raise UserError("nulls: got none for a victim, expected scores of samples that are no members")
        scored = ~np.isnan(row)
        num_at_least = known.size - np.searchsorted(known, row[scored], side="left")
        p_values[scored] = (1 + num_at_least) / (1 + known.size)
    return found


def q_values(p_values: ArrayLike) -> Floats:
    """Benjamini and Hochberg's adjusted p-values, each row a family of its own.

    Args:
        p_values: (V, N) in [0, 1]; NaN is not counted.

    Returns:
        (V, N) in [0, 1]; NaN where the p-value is NaN.
    """
    rows = np.asarray(p_values, dtype=np.float64)
    found = np.full(rows.shape, np.nan)
    for row, adjusted in zip(rows, found, strict=True):
        known = ~np.isnan(row)
        if known.any():
            adjusted[known] = scipy.stats.false_discovery_control(row[known], method="bh")
    return found


def named_at(adjusted: ArrayLike, rate: float) -> Bools:
    """Which records a list at this false discovery rate names.

    Args:
        adjusted: from `q_values`, any shape; NaN is never named.
        rate: the false discovery rate in (0, 1).

    Raises:
        UserError: the rate is outside (0, 1).
    """
    if not 0 < rate < 1:
        raise UserError(f"false discovery rate: got {rate:g}, expected a number between 0 and 1, such as 0.1")
    return np.asarray(np.asarray(adjusted, dtype=np.float64) <= rate * (1 + _ROUNDING))


def fewest_named(smallest: ArrayLike, rate: float) -> int | None:
    """The smallest number of records that a list can name, beside none.

    Args:
        smallest: (N,) the smallest p-value that each record could have; NaN is not counted.
        rate: the false discovery rate in (0, 1).

    Returns:
        The smallest R for which R records could have p-values of at most R `rate` / N. For one floor f this is N f /
        `rate`, rounded up. None if even all records at their smallest p-values would not be named.

    Example:
        >>> fewest_named(np.full(1500, 1 / 701), rate=0.1)
        22
    """
    floors = np.asarray(smallest, dtype=np.float64)
    floors = np.sort(floors[~np.isnan(floors)])
    numbers = np.arange(1, floors.size + 1)
    enough = floors <= numbers * rate / max(floors.size, 1) * (1 + _ROUNDING)
    return int(numbers[enough][0]) if enough.any() else None


def jaccard(first: ArrayLike, second: ArrayLike) -> float:
    """The agreement of two lists: the records in both, as a share of those in at least one; NaN if both are empty.

    Args:
        first: (N,) bool, the records of one list.
        second: (N,) bool, those of the other.

    Returns:
        A number in [0, 1]; 1 = the same records.
    """
    one, other = np.asarray(first, dtype=np.bool_), np.asarray(second, dtype=np.bool_)
    num_either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / num_either if num_either else float("nan")
