"""Averages the figures of every victim over subsets of its references, with the data for their intervals.

Influence values and replicates are linear in a figure: their mean over subsets belongs to the mean of the figure.
"""

# V victims, N samples, B replicates

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pruneaudit.evaluation.measure import scored_for
from pruneaudit.metrics import METRICS, Measurement, Metric, PerVictim, Quantity, Replicated
from pruneaudit.metrics.arrays import Bools, Floats


@dataclass(frozen=True, eq=False)
class Side:
    """The figures on one choice of samples, averaged over subsets."""

    by_column: Mapping[str, Measurement]
    fewest: tuple[int, int]
    """The smallest numbers of scored members and non-members of any victim in any subset."""


@dataclass
class Mean:
    """The mean over subsets of one figure of every victim, and of what its interval needs."""

    values: Floats | None = None
    spread: Floats | None = None
    num_known: Floats | None = None
    is_replicated: bool = False

    def add(self, found: Measurement) -> None:
        """Adds one subset. Victims without a value in it are left out of their mean."""
        self.is_replicated = isinstance(found, Replicated)
        known = ~np.isnan(found.values)
        by_victim = known[None] if self.is_replicated else known[:, None]
        parts = np.where(known, found.values, 0.0), np.where(by_victim, found[1], 0.0), known.astype(np.float64)
        if self.values is None:
            self.values, self.spread, self.num_known = parts
        else:
            for total, part in zip((self.values, self.spread, self.num_known), parts, strict=True):
                total += part

    def mean(self) -> Measurement:
        """The mean; NaN for a victim without a value in any subset."""
        assert self.values is not None and self.spread is not None and self.num_known is not None
        count = np.where(self.num_known > 0, self.num_known, np.nan)
        if self.is_replicated:
            return Replicated(self.values / count, self.spread / count)
        return PerVictim(self.values / count, np.nan_to_num(self.spread) / np.maximum(self.num_known, 1)[:, None])


@dataclass
class Sums:
    """Figures on one choice of samples, subset by subset."""

    levels: Sequence[float]
    seed: int
    by_column: dict[str, Mean] = field(default_factory=dict)
    fewest: tuple[int, int] | None = None

    def add(self, counted: Floats, member: Bools) -> None:
        """Adds the scores (V, N) of one subset, NaN where they do not count."""
        scored = ~np.isnan(counted)
        counts = tuple(int((scored & side).sum(axis=1).min()) for side in (member, ~member))
        self.fewest = (counts[0], counts[1]) if self.fewest is None else _smaller(self.fewest, counts)
        for metric, quantities in figures(self.levels):
            told = [one for one in quantities if metric.suppressed(one, *self.fewest) is None]
            levels = [one.level for one in told if one.level is not None]
            if told:
                measured = metric.measure(scored_for(counted, member, levels, self.seed))
                for one, found in zip(told, measured, strict=True):
                    self.by_column.setdefault(one.column, Mean()).add(found)

    def side(self) -> Side:
        """The means."""
        assert self.fewest is not None
        return Side({column: one.mean() for column, one in self.by_column.items()}, self.fewest)


def _smaller(one: tuple[int, int], other: Sequence[int]) -> tuple[int, int]:
    return min(one[0], other[0]), min(one[1], other[1])


def figures(levels: Sequence[float]) -> Iterator[tuple[Metric, tuple[Quantity, ...]]]:
    """AUC and TPRs at these false-positive rates."""
    for name in ("auc", "tpr_at_fpr"):
        metric = METRICS.get(name)
        yield metric, metric.quantities(levels)
