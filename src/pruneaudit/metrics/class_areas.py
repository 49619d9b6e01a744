"""The AUC within each class, for all classes at once.

Every victim is already ranked (`ranking.py`). A stable sort by class keeps that order within each class, so no class is
ranked by itself: with C classes that would be C times as many calls.
"""

# V victims, N samples, C classes, m members, n non-members

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.metrics.arrays import Floats, for_each
from pruneaudit.metrics.ranking import Sides, counted_up_to, halfway


@dataclass(frozen=True, eq=False)
class ClassAreas:
    """The AUC of every victim within every class; `metrics.auc_influence` of the class's samples gives the same."""

    values: Floats
    """(V, C); NaN where the class has no scored member or no scored non-member."""
    num_members: np.ndarray
    """(V, C) int: scored members."""
    num_nonmembers: np.ndarray
    """(V, C) int: scored non-members."""
    columns: np.ndarray
    """(N,) the samples by class, those of one class in their own order."""
    influence_by_class: Floats
    """(V, N) influence values, their columns in that order."""
    starts: np.ndarray
    """(C + 1,) where each class begins in it."""

    def influence(self, label: int) -> Floats:
        """The influence values (V, N') of the samples of one class; NaN with fewer than two on a side."""
        return self.influence_by_class[:, self.starts[label] : self.starts[label + 1]]

    @property
    def known(self) -> np.ndarray:
        """(V, C) bool: where there is an AUC with a variance, which a single member or non-member does not have."""
        return (self.num_members > 1) & (self.num_nonmembers > 1)


def class_areas(ranked: Sequence[Sides], codes: np.ndarray, num_classes: int) -> ClassAreas:
    """The AUC of every victim within every class, with influence values.

    Args:
        ranked: the ranking of every victim.
        codes: (N,) int, the class of each sample, from 0 to `num_classes` - 1.
        num_classes: C.
    """
    smallest = np.min_scalar_type(num_classes)  # a sort of small integers takes one or two passes
    labels = codes.astype(smallest)
    columns = np.argsort(labels, kind="stable")
    places = np.empty(codes.size, dtype=np.intp)
    places[columns] = np.arange(codes.size)
    shape = len(ranked), num_classes
    found = ClassAreas(
        np.full(shape, np.nan),
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        columns,
        np.zeros((len(ranked), codes.size)),
        np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=num_classes))]),
    )

    def look(victim: int) -> None:
        _of_victim(found, victim, ranked[victim], labels, places)

    for_each(look, len(ranked), codes.size * len(ranked))
    return found


def _of_victim(found: ClassAreas, victim: int, ranked: Sides, labels: np.ndarray, places: np.ndarray) -> None:
    members, others = (_Side.of(side, labels, found.values.shape[1]) for side in (ranked.members, ranked.others))
    found.num_members[victim], found.num_nonmembers[victim] = members.counts, others.counts
    below = others.lower(members, ranked.below)
    up_to = below if ranked.up_to is ranked.below else others.lower(members, ranked.up_to)
    # As in `ranking.sides`: a member scores lower than the non-member in place j if `up_to` is j or less. Members of
    # earlier classes are in earlier places, and are subtracted.
    first = members.starts[others.classes]
    lower = counted_up_to(others.starts[members.classes] + up_to, others.order.size) - first
    same = lower if up_to is below else counted_up_to(others.starts[members.classes] + below, others.order.size) - first
    with np.errstate(divide="ignore", invalid="ignore"):  # classes without one side
        outscored = halfway(below, up_to) / others.counts[members.classes]
        outscoring = 1 - halfway(lower, same) / members.counts[others.classes]
    areas = np.where(others.counts > 0, members.means(outscored), np.nan)
    found.values[victim] = areas
    for side, parts in ((members, outscored), (others, outscoring)):
        deviations = (parts - areas[side.classes]) / side.scales[side.classes]
        column = (ranked.members if side is members else ranked.others)[side.order]
        found.influence_by_class[victim, places[column]] = np.where(np.isnan(areas)[side.classes], 0.0, deviations)


@dataclass(frozen=True, eq=False)
class _Side:
    """Members or non-members of one victim, by class, and within a class from the lowest score up."""

    order: np.ndarray
    """(m,) their places in the ranking of all classes."""
    classes: np.ndarray
    """(m,) ascending."""
    counts: np.ndarray
    """(C,)."""
    starts: np.ndarray
    """(C,)."""

    @classmethod
    def of(cls, columns: np.ndarray, labels: np.ndarray, num_classes: int) -> _Side:
        own = labels[columns]
        order = np.argsort(own, kind="stable")
        counts = np.bincount(own, minlength=num_classes)
        return cls(order, own[order].astype(np.intp), counts, np.cumsum(counts) - counts)

    def lower(self, queries: _Side, places: np.ndarray) -> np.ndarray:
        """How many of this side's samples of its class come before each query's place among those of all classes."""
        step = self.order.size + 1
        keys = self.classes * step + self.order  # ascending
        wanted = queries.classes * step + places[queries.order]
        return np.searchsorted(keys, wanted) - self.starts[queries.classes]

    def means(self, values: Floats) -> Floats:
        """The mean of the values (m,) within each class, (C,); NaN for a class without any."""
        sums = np.full(self.counts.size, np.nan)
        present = np.flatnonzero(self.counts)
        if present.size:
            # A zero before each class: `reduceat` then adds exactly as `np.mean` does, pair by pair.
            padded, number = np.zeros(values.size + present.size), np.cumsum(self.counts > 0)
            padded[np.arange(values.size) + number[self.classes]] = values
            sums[present] = np.add.reduceat(padded, self.starts[present] + np.arange(present.size))
        return np.divide(sums, self.counts, out=sums, where=self.counts > 0)

    @property
    def scales(self) -> Floats:
        """(C,) as in `arrays.spread`: NaN for a single one, whose spread is unknown."""
        return np.sqrt(np.where(self.counts > 1, self.counts * (self.counts - 1), np.nan))
