"""The four figures that every audit reports: AUC, TPR at FPR, balanced accuracy and advantage.

The formulas are in `roc.py`, `bootstrap.py`, `rates.py` and `pooled.py`; this file gives their names and parts.
"""

# V victims, N samples, L levels, B replicates

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.metrics.bootstrap import bootstrap_tpr
from pruneaudit.metrics.intervals import Estimate
from pruneaudit.metrics.measurement import Measurement, Replicated
from pruneaudit.metrics.metric import BudgetOption, Metric, Scored
from pruneaudit.metrics.pooled import bootstrap_pooled_tpr, pooled_auc
from pruneaudit.metrics.quantity import Quantity
from pruneaudit.metrics.rates import accuracy_influence, refusal
from pruneaudit.metrics.roc import auc_influence

_TPR = re.compile(r"tpr_at_([0-9.e+-]+)%_fpr")


class Auc(Metric):
    """Area under the ROC curve: how often a random member outscores a random non-member; ties count half."""

    quantity = Quantity("auc", "AUC", guessing=0.5)
    budget = BudgetOption("auc", "Highest AUC, such as 0.6.", "AUC")
    missing = "AUC: no member or no non-member could be scored: too few references"

    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """With DeLong's influence values."""
        return (auc_influence(scored.scores, scored.member, scored.ranked),)

    def pooled(self, scored: Scored, quantities: Sequence[Quantity]) -> tuple[Estimate, ...]:
        """Clustered by sample and by model."""
        return (pooled_auc(scored.scores, scored.member, ranked=scored.pooled),)

    def token(self, quantity: Quantity) -> str:
        """The token of existing studies."""
        return seeds.AUC


class TprAtFpr(Metric):
    """True-positive rate at each of the study's false-positive rates, with thresholds from the victim's own scores."""

    meaning = "TPR: the share of members found at a fixed false-positive rate (FPR); guessing gives TPR = FPR."
    budget = BudgetOption("tpr", "Highest TPR at an FPR, such as 1%:0.05. Repeatable.", "FPR:BUDGET", by_level=True)

    def quantities(self, levels: Sequence[float]) -> tuple[Quantity, ...]:
        """One quantity for each level."""
        return tuple(tpr_quantity(tpr_column(level), level) for level in levels)

    def among(self, columns: Iterable[str]) -> tuple[Quantity, ...]:
        """By the names of columns; ends of intervals (`..._low`, `..._high`) are left out."""
        return tuple(tpr_quantity(column, level) for column, level in tpr_levels(columns).items())

    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """With bootstrap replicates, each with a re-estimated threshold."""
        tpr, replicates = bootstrap_tpr(
            scored.scores,
            scored.member,
            scored.levels,
            scored.num_resamples,
            scored.weights or scored.draws(),
            scored.ranked,
        )
        return tuple(Replicated(tpr[:, index], replicates[..., index]) for index in range(len(scored.levels)))

    def pooled(self, scored: Scored, quantities: Sequence[Quantity]) -> tuple[Estimate, ...]:
        """Every replicate weighs samples and models."""
        levels = [_level(quantity) for quantity in quantities]
        return bootstrap_pooled_tpr(
            scored.scores,
            scored.member,
            levels,
            scored.num_resamples,
            scored.pair_weights or scored.draws(),
            ranked=scored.pooled,
        )

    def suppressed(self, quantity: Quantity, num_members: int, num_nonmembers: int) -> str | None:
        """By the rule of ten expected false positives; see `refusal`."""
        return refusal(num_nonmembers, _level(quantity))

    def num_trials(self, num_members: int, num_nonmembers: int) -> int:
        """Each member is a trial."""
        return num_members

    def token(self, quantity: Quantity) -> str:
        """The token of existing studies."""
        return seeds.TPR.format(100 * _level(quantity))


class BalancedAccuracy(Metric):
    """Balanced accuracy, (TPR + 1 - FPR) / 2, at the threshold learned on references."""

    quantity = Quantity("balanced_accuracy", "Balanced accuracy", is_percent=True, places=1, guessing=0.5)
    needs_threshold = True
    missing = "balanced accuracy: too few references to learn a threshold on"

    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """With the influence values of two proportions; samples without a threshold are not decided."""
        if scored.thresholds is None:
            raise UserError("balanced accuracy: got scores without thresholds, expected thresholds from references")
        return (accuracy_influence(scored.scores, scored.thresholds, scored.member),)


class Advantage(Metric):
    """Advantage, TPR - FPR, at the threshold learned on references: the balanced accuracy on another scale."""

    quantity = Quantity("advantage", "Advantage", guessing=0.0)
    bounds = (-1.0, 1.0)
    meaning = "Advantage: TPR minus FPR at the threshold of the balanced accuracy."
    budget = BudgetOption("advantage", "Highest TPR - FPR at the learned threshold.", "RATE")
    needs_threshold = True
    restates: ClassVar[Quantity] = BalancedAccuracy.quantity

    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """Measures nothing: the balanced accuracy gives the advantage."""
        return ()

    def restated(self, value: float) -> float:
        """Computes TPR - FPR, or its limits, from (TPR + 1 - FPR) / 2."""
        return 2 * value - 1


def tpr_column(level: float) -> str:
    """The findings column of the true-positive rate at false-positive rate `level` (0..1)."""
    return f"tpr_at_{100 * level:g}%_fpr"


def tpr_title(level: float) -> str:
    """The heading of that column: `TPR at 1% FPR`."""
    return f"TPR at {100 * level:g}% FPR"


def tpr_levels(columns: Iterable[str]) -> dict[str, float]:
    """The false-positive rate (0..1) of each column that `tpr_column` names, in the order of `columns` (the study's).

    Ends of intervals (`..._low`, `..._high`) are left out.
    """
    found = ((column, _TPR.fullmatch(column)) for column in columns)
    return {column: float(match[1]) / 100 for column, match in found if match}


def tpr_quantity(column: str, level: float) -> Quantity:
    """The true-positive rate in a column; guessing gives the false-positive rate `level` (0..1)."""
    # Below 1% FPR the rates themselves are small: one decimal would hide them.
    places = 1 if level >= 0.01 else 2
    return Quantity(column, tpr_title(level), is_percent=True, places=places, level=level, guessing=level)


def _level(quantity: Quantity) -> float:
    assert quantity.level is not None  # `tpr_quantity` made it
    return quantity.level


METRIC = {
    "auc": Auc(),
    "tpr_at_fpr": TprAtFpr(),
    "balanced_accuracy": BalancedAccuracy(),
    "advantage": Advantage(),
}
