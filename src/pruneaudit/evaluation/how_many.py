"""Computes the models or samples that a limit needs, so that a limit that this bank cannot certify is refused early.

The best case is a network that leaks nothing, or makes no error. Its figures vary as chance alone makes them vary: at a
TPR of a = FPR by a (1 - a) (1 / members + 1 / non-members) per model, at an AUC of 0.5 by the variance of the
Mann-Whitney statistic. Real candidates vary more, so a limit that passes here can still be out of reach.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import scipy

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import Limits
from pruneaudit.metrics import refusal

MOST = 100_000
"""A limit that needs more models or samples than this counts as impossible."""


class Half(NamedTuple):
    """The half of the models that confirms."""

    num_models: int
    """Victims; 1 with a target."""
    num_members: int
    """The smallest number of audited members of a victim."""
    num_nonmembers: int
    is_target: bool = False


class _Goal(NamedTuple):
    """A limit of leakage, and what is known of it without leakage."""

    text: str
    guessing: float
    limit: float
    variance: float
    """Of one model, at guessing."""


def check_certifiable(limits: Limits, half: Half) -> None:
    """Refuses limits that even a network without leakage, or without an error, could hardly be shown to keep.

    Args:
        limits: the limits.
        half: the half of the models that confirms.

    Raises:
        UserError: a limit takes more models or samples; says how many.
    """
    for level in limits.max_tpr:
        why = refusal(half.num_nonmembers, level)
        if why is not None:
            raise UserError(
                f"max_tpr: {why}; audit more samples (data.num_samples), or limit the TPR at a higher false-positive"
                " rate, such as 10%"
            )
    for goal in _goals(limits, half):
        _check_goal(goal, half, limits.alpha)
    if limits.min_accuracy is not None:
        needed = math.ceil(math.log(limits.alpha) / math.log(limits.min_accuracy))
        if needed > half.num_nonmembers:
            raise UserError(
                f"min_accuracy: got {limits.min_accuracy:g}, but each network answers {half.num_nonmembers:,} samples"
                f" that are no members; {needed:,} without an error are needed to show it: audit more samples"
                " (data.num_samples), or give a lower limit"
            )


def models_needed(distance: float, variance: float, alpha: float) -> int | None:
    """The smallest number of models whose mean is as likely as not to show that a limit is kept.

    Args:
        distance: of the expected value from the limit, above 0.
        variance: of one model's figure.
        alpha: one-sided error probability.

    Returns:
        At least 2; None beyond `MOST`.
    """
    fewest = max(2, math.floor(variance * scipy.stats.norm.ppf(1 - alpha) ** 2 / distance**2))
    for number in range(fewest, MOST):
        if scipy.stats.t.ppf(1 - alpha, number - 1) * math.sqrt(variance / number) <= distance:
            return number
        if number > 50 + fewest:
            break
    return None


def models_for(test: LimitTest, num_models: int, alpha: float) -> int | None:
    """At least how many models would show that a failed figure keeps its limit, if value and spread stayed the same.

    Takes all of the error as between models: the part that samples share does not shrink with more models.

    Args:
        test: a figure on `num_models` models.
        num_models: above 1.
        alpha: one-sided error probability.

    Returns:
        None if the value itself breaks the limit, or beyond `MOST`.
    """
    if test.margin is None or test.margin <= 0 or num_models < 2:
        return None
    found = models_needed(test.margin, num_models, alpha)
    return None if found is None else max(found, num_models + 1)


def _goals(limits: Limits, half: Half) -> list[_Goal]:
    per_model = 1 / half.num_members + 1 / half.num_nonmembers
    goals = [
        _Goal(f"max_tpr {100 * level:g}%:{limit:g}", level, limit, level * (1 - level) * per_model)
        for level, limit in limits.max_tpr.items()
    ]
    if limits.max_auc is not None:
        variance = (half.num_members + half.num_nonmembers + 1) / (12 * half.num_members * half.num_nonmembers)
        goals.append(_Goal(f"max_auc {limits.max_auc:g}", 0.5, limits.max_auc, variance))
    return goals


def _check_goal(goal: _Goal, half: Half, alpha: float) -> None:
    distance = goal.limit - goal.guessing
    if half.is_target:
        reach = scipy.stats.norm.ppf(1 - alpha) * math.sqrt(goal.variance)
        if reach > distance:
            factor = (reach / distance) ** 2
            samples = math.ceil(factor * (half.num_members + half.num_nonmembers))
            raise UserError(
                f"{_hopeless(goal)} for one target with {half.num_members + half.num_nonmembers:,} audited samples; it"
                f" takes about {samples:,} (data.num_samples), or a limit of at least {_above(goal, reach)}"
            )
        return
    needed = models_needed(distance, goal.variance, alpha)
    if needed is None or needed > half.num_models:
        many = f"{2 * needed:,} models, half of them to confirm" if needed else f"more than {MOST:,} models"
        reach = scipy.stats.t.ppf(1 - alpha, half.num_models - 1) * math.sqrt(goal.variance / half.num_models)
        raise UserError(
            f"{_hopeless(goal)} with {half.num_models} models that confirm; it takes at least {many}"
            f" (membership.num_models), or a limit of at least {_above(goal, reach)}"
        )


def _hopeless(goal: _Goal) -> str:
    return f"{goal.text}: even a network that leaks nothing could hardly be shown to keep this limit"


def _above(goal: _Goal, reach: float) -> str:
    """A limit that can be shown, with three digits, rounded up."""
    limit = goal.guessing + reach
    digits = 2 - math.floor(math.log10(limit))
    return f"{math.ceil(limit * 10**digits) / 10**digits:g}"
