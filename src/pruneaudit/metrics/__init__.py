"""What scores amount to, with intervals: pure functions of arrays, NaN where a sample is not scored."""

from pruneaudit.metrics.arrays import PerVictim
from pruneaudit.metrics.bootstrap import bootstrap_tpr
from pruneaudit.metrics.epsilon import guess_canaries, many_run_epsilon, one_run_epsilon, one_run_over_grid
from pruneaudit.metrics.intervals import (
    Estimate,
    binomial_interval,
    difference_two_way,
    per_victim,
    per_victim_replicates,
    two_way,
    two_way_replicates,
)
from pruneaudit.metrics.pooled import bootstrap_pooled_tpr, pooled_auc, pooled_estimates
from pruneaudit.metrics.rates import Rates, best_threshold, ppv, rate_influence, refusal
from pruneaudit.metrics.roc import auc, auc_influence, barriers, mean_roc, tpr_at_fpr

__all__ = [
    "Estimate",
    "PerVictim",
    "Rates",
    "auc",
    "auc_influence",
    "barriers",
    "best_threshold",
    "binomial_interval",
    "bootstrap_pooled_tpr",
    "bootstrap_tpr",
    "difference_two_way",
    "guess_canaries",
    "many_run_epsilon",
    "mean_roc",
    "one_run_epsilon",
    "one_run_over_grid",
    "per_victim",
    "per_victim_replicates",
    "pooled_auc",
    "pooled_estimates",
    "ppv",
    "rate_influence",
    "refusal",
    "tpr_at_fpr",
    "two_way",
    "two_way_replicates",
]
