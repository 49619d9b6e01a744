"""The quantities of the report (metrics and accuracies), and the selection for each table."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pruneaudit.metrics import Quantity, all_metrics, ranking_first
from pruneaudit.metrics.standard import Advantage, Auc, BalancedAccuracy, tpr_levels, tpr_quantity

__all__ = [
    "ADVANTAGE",
    "AUC",
    "BALANCED_ACCURACY",
    "TEST_ACCURACY",
    "TRAIN_ACCURACY",
    "Quantity",
    "compared_quantities",
    "headline_quantities",
    "headline_tpr",
    "meanings",
    "quantities_of",
    "ranking_quantities",
    "sparsity_text",
    "tpr_quantities",
]

PREFERRED_LEVEL = 0.01
"""The false-positive rate that summaries show, where the study reports it (fixed beforehand)."""
AUC, BALANCED_ACCURACY, ADVANTAGE = Auc.quantity, BalancedAccuracy.quantity, Advantage.quantity
TEST_ACCURACY = Quantity("test_accuracy", "Test accuracy", is_percent=True, places=1)
TRAIN_ACCURACY = Quantity("train_accuracy", "Training accuracy", is_percent=True, places=1)


def tpr_quantities(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """The TPR of each level among these columns, once each, in their order (the study's)."""
    return tuple(tpr_quantity(column, level) for column, level in tpr_levels(columns).items())


def headline_tpr(columns: Iterable[str]) -> Quantity | None:
    """The TPR that summaries show: at 1% where the study has it, else at its lowest level."""
    rates = [(rate.level, rate) for rate in tpr_quantities(columns) if rate.level is not None]
    preferred = [rate for level, rate in rates if math.isclose(level, PREFERRED_LEVEL)]
    return preferred[0] if preferred else min(rates, key=lambda pair: pair[0])[1] if rates else None


def quantities_of(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """The figures among the columns of a table of findings, in the order they are shown."""
    names = list(columns)
    return tuple(quantity for metric in ranking_first(all_metrics()) for quantity in metric.among(names))


def meanings(columns: Iterable[str]) -> tuple[str, ...]:
    """Explains the figures among these columns, a sentence for each that needs one."""
    names = list(columns)
    return tuple(metric.meaning for metric in ranking_first(all_metrics()) if metric.meaning and metric.among(names))


def ranking_quantities(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """Those among them that depend on the ranking of scores alone."""
    names = list(columns)
    metrics = [metric for metric in all_metrics() if not metric.needs_threshold]
    return tuple(quantity for metric in metrics for quantity in metric.among(names))


def compared_quantities(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """Those among them that have paired differences: all but those that restate another one."""
    names = list(columns)
    metrics = [metric for metric in ranking_first(all_metrics()) if not metric.restates]
    return tuple(quantity for metric in metrics for quantity in metric.among(names))


def headline_quantities(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """The figures that short tables show: those of the ranking, of the TPRs only `headline_tpr`."""
    names = list(columns)
    rate = headline_tpr(names)
    return tuple(quantity for quantity in ranking_quantities(names) if quantity.level is None or quantity == rate)


def bytes_text(size: float) -> str:
    """`812 B`, `19.5 kB` (1 kB = 1,000 B), `44.7 MB`."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f}\u00a0{unit}"  # never broken in two
    return f"{size:.0f}\u00a0B"


def sparsity_text(sparsity: float) -> str:
    """`90%`, `97.5%` for a fraction in 0..1; never rounded up to 100% or down to 0% when it is neither."""
    for places in (1, 2, 3, 4):
        text = f"{100 * sparsity:.{places}f}"
        if float(text) not in (0.0, 100.0) or sparsity in (0.0, 1.0):
            break
    return text.rstrip("0").rstrip(".") + "%"
