"""Leakage figures with intervals, computed from scores: pure functions of arrays, NaN where a sample is not scored."""

from __future__ import annotations

from collections.abc import Iterable

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import Registry
from pruneaudit.metrics.arrays import PerVictim
from pruneaudit.metrics.bootstrap import bootstrap_tpr
from pruneaudit.metrics.class_areas import ClassAreas, class_areas
from pruneaudit.metrics.epsilon import (
    guess_canaries,
    many_run_epsilon,
    one_run_by_halves,
    one_run_epsilon,
    one_run_over_grid,
)
from pruneaudit.metrics.exposed import RecipeTest, exposed_by_recipe
from pruneaudit.metrics.intervals import (
    Estimate,
    binomial_interval,
    difference_two_way,
    per_victim,
    per_victim_replicates,
    two_way,
    two_way_replicates,
)
from pruneaudit.metrics.measurement import Measurement, Replicated, difference_of, each_of, mean_of
from pruneaudit.metrics.metric import BudgetOption, Metric, Scored
from pruneaudit.metrics.one_run_gaussian import one_run_gaussian_epsilon
from pruneaudit.metrics.pooled import bootstrap_pooled_tpr, pooled_auc
from pruneaudit.metrics.quantity import Quantity
from pruneaudit.metrics.rates import Rates, best_cut, best_threshold, ppv, rate_influence, refusal
from pruneaudit.metrics.roc import auc, auc_influence, barriers, mean_roc, tpr_at_fpr

__all__ = [
    "METRICS",
    "BudgetOption",
    "ClassAreas",
    "Estimate",
    "Measurement",
    "Metric",
    "PerVictim",
    "Quantity",
    "Rates",
    "RecipeTest",
    "Replicated",
    "Scored",
    "all_metrics",
    "auc",
    "auc_influence",
    "barriers",
    "best_cut",
    "best_threshold",
    "binomial_interval",
    "bootstrap_pooled_tpr",
    "bootstrap_tpr",
    "class_areas",
    "difference_of",
    "difference_two_way",
    "each_of",
    "exposed_by_recipe",
    "guess_canaries",
    "many_run_epsilon",
    "mean_of",
    "mean_roc",
    "metric_of",
    "one_run_by_halves",
    "one_run_epsilon",
    "one_run_gaussian_epsilon",
    "one_run_over_grid",
    "per_victim",
    "per_victim_replicates",
    "pooled_auc",
    "ppv",
    "ranking_first",
    "rate_influence",
    "refusal",
    "tpr_at_fpr",
    "two_way",
    "two_way_replicates",
]

STANDARD = ("auc", "balanced_accuracy", "advantage", "tpr_at_fpr")
"""The figures in every table of results, in the order of its columns."""
METRICS: Registry[Metric] = Registry(
    "metric",
    "pruneaudit.metrics",
    "METRIC",
    infrastructure={
        *(
            "arrays",
            "bootstrap",
            "class_areas",
            "epsilon",
            "detection",
            "exposed",
            "intervals",
            "measurement",
            "metric",
        ),
        *("multiple", "one_run_gaussian", "pooled", "quantity", "ranking", "rates", "roc", "sample_weights"),
        *("trade_off", "verdicts"),
    },
    shared={"standard": STANDARD},
)


def all_metrics() -> tuple[Metric, ...]:
    """Every measured figure: the standard ones, then the others by name."""
    others = [name for name in METRICS.names() if name not in STANDARD]
    return tuple(METRICS.get(name) for name in (*STANDARD, *others))


def ranking_first(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Metrics in the order for readers: those of the ranking, then those at a learned threshold."""
    return tuple(sorted(metrics, key=lambda metric: metric.needs_threshold))


def metric_of(column: str) -> Metric:
    """The metric of a column of findings.

    Raises:
        UserError: no metric has such a column.
    """
    for metric in all_metrics():
        if metric.among([column]):
            return metric
    raise UserError(f"no metric has the column '{column}'; expected one of: {', '.join(METRICS.names())}")
