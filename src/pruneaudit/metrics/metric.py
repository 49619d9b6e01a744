"""The contract of a figure: how it is measured, called and written, and when it is suppressed.

A metric is a file of this package that sets `METRIC`. By that alone it appears in findings, comparisons, the frontier,
`pruneaudit check`, the page, the terminal, LaTeX and paper figures, JSON and trackers.

Direction: higher always means that more leaks, as a higher score always means that membership is more likely. A figure
that falls with leakage is written the other way round (1 - x). Budgets are therefore upper limits.
"""

# V victims, N samples, L levels, B replicates

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats
from pruneaudit.metrics.intervals import Estimate
from pruneaudit.metrics.measurement import Measurement
from pruneaudit.metrics.quantity import Quantity
from pruneaudit.metrics.roc import Sides, sides


@dataclass(frozen=True, eq=False)
class Scored:
    """What a metric is computed from: one attack's scores in one attack setting."""

    scores: Floats
    """(V, N), higher = more likely a member; NaN for what is not counted: unscored, not eligible, a canary."""
    member: Bools
    """(V, N)."""
    levels: Sequence[float]
    """(L,) the study's false-positive rates, in (0, 1)."""
    draws: Callable[[], np.random.Generator]
    """A generator, with the same seed at each call and for each attack and release: equal weights pair replicates."""
    num_resamples: int
    """B, the replicates of a bootstrap."""
    thresholds: Floats | None = None
    """(V, N) the score from which each sample is accused, as references teach it; NaN where they teach none. Only for
    metrics that `needs_threshold`."""

    @cached_property
    def pooled(self) -> Sides:
        """All (victim, sample) pairs thrown together and ranked, once for all metrics."""
        return sides(self.scores.ravel(), self.member.ravel())


@dataclass(frozen=True)
class BudgetOption:
    """The option of `pruneaudit check` that says how high a figure may be."""

    name: str
    """`auc` for `--max-auc` and for `max_auc=` in Python; with underscores between words."""
    help: str
    metavar: str = "LIMIT"
    by_level: bool = False
    """The budget holds at one of several false-positive rates: the text is FPR:BUDGET, and the option repeatable."""

    @property
    def flag(self) -> str:
        """`--max-auc`."""
        return f"--max-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """`max_auc`."""
        return f"max_{self.name}"


class Metric(ABC):
    """A figure of how well scores tell members from non-members.

    Most have one column and set `quantity`. One with a column for each of the study's false-positive rates overrides
    `quantities` and `among`.

    Example:
        >>> pruneaudit.METRICS.get("auc").quantity.column
        'auc'
    """

    quantity: ClassVar[Quantity]
    """Column, heading, unit and what guessing reaches."""
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Smallest and largest possible value; intervals end there."""
    meaning: ClassVar[str] = ""
    """A sentence for readers of the page, below its table; empty: the heading says enough."""
    budget: ClassVar[BudgetOption | None] = None
    """The option of `pruneaudit check`; None: there is none."""
    needs_threshold: ClassVar[bool] = False
    """Measured at a threshold that references teach. Others are read off the ranking of scores alone: they stand in the
    rows of all pairs pooled, in the frontier, and in summaries."""
    missing: ClassVar[str] = ""
    """What the column `suppressed` says where no victim has a value, beginning with the heading; empty: nothing."""
    restates: ClassVar[Quantity | None] = None
    """Another metric's quantity that this one says in other words (see `restated`): it is not measured, has no interval
    of its own in the findings and is not compared."""

    def quantities(self, levels: Sequence[float]) -> tuple[Quantity, ...]:
        """The columns that it has, in a study with these false-positive rates."""
        return (self.quantity,)

    def among(self, columns: Iterable[str]) -> tuple[Quantity, ...]:
        """Those of its columns that a table has, once each, in the order of `columns`."""
        return (self.quantity,) if self.quantity.column in columns else ()

    @abstractmethod
    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """The figure of every victim, for each of its `quantities`; always the same kind of measurement."""

    def pooled(self, scored: Scored, quantities: Sequence[Quantity]) -> tuple[Estimate, ...]:
        """The figure over all (victim, sample) pairs thrown together, for each of `quantities`; empty: there is none.

        Args:
            scored: with the number of resamples that is meant for this.
            quantities: those that are not suppressed.
        """
        return ()

    def suppressed(self, quantity: Quantity, num_members: int, num_nonmembers: int) -> str | None:
        """Why too few samples forbid to report the figure; None where there are enough.

        Args:
            quantity: one of its own.
            num_members: scored members of the victim that has fewest.
            num_nonmembers: likewise.
        """
        return None

    def num_trials(self, num_members: int, num_nonmembers: int) -> int:
        """How many independent trials one value rests on, for a value at a bound (see `intervals.two_way`).

        Args:
            num_members: scored members of the victim that has fewest.
            num_nonmembers: likewise.
        """
        return min(num_members, num_nonmembers)

    def restated(self, value: float) -> float:
        """The figure from a value, or the end of an interval, of the quantity that it restates."""
        raise UserError(f"{type(self).__name__} restates another figure, expected it to define `restated`")

    def token(self, quantity: Quantity) -> str:
        """What random draws know the figure by: a column may be renamed, its token never."""
        return quantity.column
