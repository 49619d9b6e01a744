"""The ranking of members against non-members, by one sort of each side: what all figures of a ranking start from."""

# V victims, N samples, m members, n non-members

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pruneaudit.metrics.arrays import Bools, Floats, for_each

QUERIES_AT_ONCE = 2**18


class Sides(NamedTuple):
    """Members and non-members of one row, each from the lowest score up, and how they interleave."""

    members: np.ndarray
    """Columns of the scored members, (m,) int32."""
    others: np.ndarray
    """Columns of the scored non-members, (n,) int32."""
    member_scores: Floats
    """(m,) ascending."""
    other_scores: Floats
    """(n,) ascending."""
    below: np.ndarray
    """(m,) int32: number of non-members that score lower."""
    up_to: np.ndarray
    """(m,) number of non-members that score lower or the same; the same array as `below` if no two sides tie."""
    lower: np.ndarray
    """(n,) int32: number of members that score lower."""
    lower_or_same: np.ndarray
    """(n,) number of members that score lower or the same; the same array as `lower` if no two sides tie."""

    @property
    def members_outscore(self) -> Floats:
        """(m,) number of non-members that score lower; ties count half."""
        return halfway(self.below, self.up_to)

    @property
    def others_outscored(self) -> Floats:
        """(n,) number of members that score lower; ties count half."""
        return halfway(self.lower, self.lower_or_same)


def halfway(less: np.ndarray, less_or_same: np.ndarray) -> Floats:
    """Ranks with ties counted half, from two counts."""
    if less is less_or_same:
        return less.astype(np.float64)
    return (less.astype(np.int64) + less_or_same) / 2


def sides(row: Floats, inside: Bools) -> Sides:
    """Ranks one row of scores (N,), NaN ignored, against membership (N,), by one sort of each side."""
    scored = ~np.isnan(row)
    columns, ranked = [np.empty(0, np.int32)] * 2, [np.empty(0)] * 2
    place = np.int32 if row.size <= np.iinfo(np.int32).max else np.int64

    def rank(side: int) -> None:
        chosen = np.flatnonzero(scored & (~inside if side else inside))
        values = row[chosen]
        order = np.argsort(values)
        columns[side], ranked[side] = chosen[order].astype(place), values[order]

    for_each(rank, 2, row.size)
    (members, others), (low, high) = columns, ranked  # their columns, their scores
    below = _places(high, low, "left").astype(place)  # (m,) non-members that score lower
    # The second lookup is needed only if a member and a non-member have the same score.
    tied = bool((high[np.minimum(below, len(high) - 1)] == low).any()) if len(high) else False
    up_to = _places(high, low, "right").astype(place) if tied else below  # (m,) ... lower or the same
    # The other side by counting: a member scores lower than the non-member in place j if `up_to` is j or less.
    lower = counted_up_to(up_to, len(high)).astype(place)
    lower_or_same = counted_up_to(below, len(high)).astype(place) if tied else lower
    return Sides(members, others, low, high, below, up_to, lower, lower_or_same)


def counted_up_to(places: np.ndarray, num_places: int) -> np.ndarray:
    """How many of the places (0 or more) are at most 0, 1, ... `num_places` - 1."""
    return np.cumsum(np.bincount(places, minlength=num_places + 1))[:num_places]


def _places(ascending: Floats, queries: Floats, side: Literal["left", "right"]) -> np.ndarray:
    """`np.searchsorted`, part by part in threads."""
    if queries.size <= QUERIES_AT_ONCE:
        return np.searchsorted(ascending, queries, side=side)
    found = np.empty(queries.size, dtype=np.intp)

    def look(index: int) -> None:
        part = slice(index * QUERIES_AT_ONCE, (index + 1) * QUERIES_AT_ONCE)
        found[part] = np.searchsorted(ascending, queries[part], side=side)

    for_each(look, -(-queries.size // QUERIES_AT_ONCE), queries.size)
    return found


def every_ranking(rows: Floats, truth: Bools) -> tuple[Sides, ...]:
    """The ranking of every victim, from scores (V, N), NaN ignored, and membership (V, N)."""
    found: list[Sides | None] = [None] * len(rows)

    def rank(victim: int) -> None:
        found[victim] = sides(rows[victim], truth[victim])

    for_each(rank, len(rows), rows.size)
    return tuple(each for each in found if each is not None)


def ranked_or(ranked: Sequence[Sides] | None, rows: Floats, truth: Bools) -> Sequence[Sides]:
    """The rankings that are known, or else `every_ranking`."""
    return every_ranking(rows, truth) if ranked is None else ranked
