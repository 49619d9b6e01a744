"""Turns the measurements of a candidate's models into its tests: accuracy first, then leakage attack by attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pruneaudit.evaluation.limit_test import LimitTest, Question, answer, unanswered
from pruneaudit.evaluation.limits import ACCURACY, AUC, Limits
from pruneaudit.evaluation.measure import Accuracies, Measured
from pruneaudit.metrics import METRICS, Metric, Quantity

Played = tuple[str, str]
"""An attack and the kind of its references."""


def tests_of(
    limits: Limits, accuracies: Accuracies, measured: Mapping[Played, Measured], seed: int = 0
) -> tuple[LimitTest, ...]:
    """The tests of one candidate on one half of the models.

    The AUC is reported without a limit too. A limited figure that no attack could measure counts as broken.

    Args:
        limits: fixed before the search.
        accuracies: of the half's models, on samples that are no members.
        measured: by attack and kind of references.
        seed: the study's.
    """
    num_trials = min((int(found.num_nonmembers.min()) for found in measured.values()), default=None)
    question = Question(ACCURACY, limits.min_accuracy, alpha=limits.alpha, num_trials=num_trials, seed=seed)
    tests = [answer(question, accuracies.test)]
    for (attack, references), found in measured.items():
        for column in columns_of(limits):
            about = Question(column, limits.leakage.get(column), attack, references, limits.alpha, seed=seed)
            tests.append(_of_leakage(about, found))
    return tuple(tests)


def columns_of(limits: Limits) -> tuple[str, ...]:
    """The columns of leakage that a certificate reports: the limited ones, and the AUC."""
    return tuple(dict.fromkeys([*limits.leakage, AUC]))


def largest_leakage(tests: tuple[LimitTest, ...], limits: Limits) -> float | None:
    """The value of `Limits.ranked_by`, the largest over attacks; None if one is missing."""
    values = [test.value for test in tests if test.figure == limits.ranked_by]
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _of_leakage(question: Question, found: Measured) -> LimitTest:
    metric, quantity = _metric_of(question.figure)
    fewest = int(found.num_members.min()), int(found.num_nonmembers.min())
    why = metric.suppressed(quantity, *fewest)
    if why is None and question.figure not in found.by_column:
        why = f"{quantity.title} was not measured: add its false-positive rate to audit.fpr_levels"
    if why is not None:
        return unanswered(question, why)
    return answer(replace(question, num_trials=metric.num_trials(*fewest)), found.by_column[question.figure])


def _metric_of(column: str) -> tuple[Metric, Quantity]:
    for name in ("auc", "tpr_at_fpr"):
        metric = METRICS.get(name)
        for quantity in metric.among([column]):
            return metric, quantity
    raise KeyError(column)
