"""The base class of metrics: how a figure is measured, named and formatted, and when it is suppressed.

A metric is a file of this package that sets `METRIC`. That is enough for it to appear in findings, comparisons, the
frontier, `pruneaudit check`, the page, the terminal, LaTeX and paper figures, JSON and trackers.

Direction: a higher figure always means more leakage, as a higher score always means that membership is more likely. A
figure that falls with leakage is reported as 1 - x. Budgets are therefore upper limits.
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
from pruneaudit.metrics.ranking import Sides, every_ranking, sides
from pruneaudit.metrics.sample_weights import PairWeights, SampleWeights


@dataclass(frozen=True, eq=False)
class Scored:
    """The input of a metric: one attack's scores in one attack setting."""

    scores: Floats
    """(V, N), higher = more likely a member; NaN if not counted: unscored, not eligible, or a canary."""
    member: Bools
    """(V, N)."""
    levels: Sequence[float]
    """(L,) the study's false-positive rates, in (0, 1)."""
    draws: Callable[[], np.random.Generator]
    """Returns a generator, always with the same seed: equal weights pair replicates over attacks and releases."""
    num_resamples: int
    """B, the number of replicates of a bootstrap."""
    thresholds: Floats | None = None
    """(V, N) the learned threshold of each sample; scores at or above accuse. NaN without a threshold. Only for metrics
    with `needs_threshold`."""
    weights: SampleWeights | None = None
    """The weights of `draws`, `num_resamples` of them, where several attacks use them."""
    pair_weights: PairWeights | None = None
    """Those of all pairs pooled, likewise."""

    @cached_property
    def ranked(self) -> tuple[Sides, ...]:
        """The ranking of every victim (V), once for all metrics."""
        return every_ranking(self.scores, self.member)

    @cached_property
    def pooled(self) -> Sides:
        """All (victim, sample) pairs, pooled and ranked, once for all metrics."""
        return sides(self.scores.ravel(), self.member.ravel())


@dataclass(frozen=True)
class BudgetOption:
    """The option of `pruneaudit check` that limits a figure."""

    name: str
    """`auc` for `--max-auc` and for `max_auc=` in Python; words are joined by underscores."""
    help: str
    metavar: str = "LIMIT"
    by_level: bool = False
    """Whether a budget is for one of several false-positive rates: then it is FPR:BUDGET, and repeatable."""

    @property
    def flag(self) -> str:
        """`--max-auc`."""
        return f"--max-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """`max_auc`."""
        return f"max_{self.name}"


class Metric(ABC):
    """A metric: a figure of how well scores tell members from non-members.

    Most have one column and set `quantity`. A metric with a column for each of the study's false-positive rates
    overrides `quantities` and `among`.

    Example:
        >>> pruneaudit.METRICS.get("auc").quantity.column
        'auc'
    """

    quantity: ClassVar[Quantity]
    """Column, heading, unit, and the value of guessing."""
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Smallest and largest possible value; intervals are clipped there."""
    meaning: ClassVar[str] = ""
    """A sentence for readers of the page, below its table; empty if the heading is enough."""
    budget: ClassVar[BudgetOption | None] = None
    """The option of `pruneaudit check`, or None."""
    needs_threshold: ClassVar[bool] = False
    """Whether it is measured at a threshold that references teach. Others use only the ranking of scores: they are in
    the rows of all pairs pooled, in the frontier, and in summaries."""
    missing: ClassVar[str] = ""
    """Text of the column `suppressed` if no victim has a value; begins with the heading. Empty: no text."""
    restates: ClassVar[Quantity | None] = None
    """The quantity of another metric from which this one is computed (see `restated`): it is not measured, has no
    separate interval in the findings and is not compared."""

    def quantities(self, levels: Sequence[float]) -> tuple[Quantity, ...]:
        """Returns its columns in a study with these false-positive rates."""
        return (self.quantity,)

    def among(self, columns: Iterable[str]) -> tuple[Quantity, ...]:
        """Returns its columns among those of a table, each once, in the order of `columns`."""
        return (self.quantity,) if self.quantity.column in columns else ()

    @abstractmethod
    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """Returns the figure of every victim, for each of its `quantities`; always the same kind of measurement."""

    def pooled(self, scored: Scored, quantities: Sequence[Quantity]) -> tuple[Estimate, ...]:
        """Returns the figure over all (victim, sample) pairs pooled, for each of `quantities`; empty if there is none.

        Args:
            scored: the scores, with the number of resamples for pooled figures.
            quantities: the quantities that are not suppressed.
        """
        return ()

    def suppressed(self, quantity: Quantity, num_members: int, num_nonmembers: int) -> str | None:
        """Returns why there are too few samples to report the figure; None if there are enough.

        Args:
            quantity: one of its quantities.
            num_members: the smallest number of scored members of any victim.
            num_nonmembers: the smallest number of scored non-members.
        """
        return None

    def num_trials(self, num_members: int, num_nonmembers: int) -> int:
        """Returns the number of independent trials behind one value, for a value at a bound (see `intervals.two_way`).

        Args:
            num_members: the smallest number of scored members of any victim.
            num_nonmembers: the smallest number of scored non-members.
        """
        return min(num_members, num_nonmembers)

    def restated(self, value: float) -> float:
        """Returns the figure from a value, or from an end of an interval, of the quantity that it restates."""
        raise UserError(f"{type(self).__name__} restates another figure, expected it to define `restated`")

    def token(self, quantity: Quantity) -> str:
        """Returns the figure's token for random draws: a column may be renamed, but its token never changes."""
        return quantity.column
