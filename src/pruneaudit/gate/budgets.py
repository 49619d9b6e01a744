"""Budgets: the upper limits of figures, parsed from the texts that users write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pruneaudit.core.amounts import parse_rate
from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics import BudgetOption, Metric, Quantity, all_metrics

NO_BUDGET = "no budget was given, expected at least one, such as: --max-tpr 1%:0.05 --max-auc 0.6"


@dataclass(frozen=True)
class Budget:
    """The upper limit of one figure."""

    quantity: Quantity
    limit: float
    """In 0..1; the upper end of the interval must not exceed it."""
    metric: Metric
    """The metric that the quantity belongs to."""


def budgets_of(results: Results, **texts: str | Iterable[str] | None) -> tuple[Budget, ...]:
    """Parses budgets for the figures that these results report.

    Args:
        results: the results to check.
        texts: by the name of the option (see `budget_options`): `max_auc="0.6"`, `max_advantage="0.1"`; at one of
            several false-positive rates FPR:BUDGET, one or more: `max_tpr=["1%:0.05", "10%:0.5"]`. None: no budget.

    Raises:
        UserError: no budget was given, an option is unknown, a budget is not a rate or is below the value of random
            guessing, or the results do not report the figure.
    """
    options = budget_options()
    unknown = [key for key in texts if key not in options]
    if unknown:
        expected = f"expected any of: {', '.join(options)}"
        raise UserError(f"unknown budget '{unknown[0]}'{nearest(unknown[0], options)}; {expected}")
    found: list[Budget] = []
    for key, (metric, option) in options.items():
        given = texts.get(key)
        listed = (given,) if isinstance(given, str) else given or ()
        found += [_budget(results, metric, option, text) for text in listed]
    if not found:
        raise UserError(NO_BUDGET)
    return tuple(dict.fromkeys(found))


def budget_options() -> dict[str, tuple[Metric, BudgetOption]]:
    """Returns every budget option by its Python name; those for a false-positive rate first."""
    found = [(metric, metric.budget) for metric in all_metrics() if metric.budget is not None]
    found.sort(key=lambda pair: not pair[1].by_level)
    return {option.key: (metric, option) for metric, option in found}


def _budget(results: Results, metric: Metric, option: BudgetOption, text: str) -> Budget:
    reported = metric.among(results.findings.columns)
    if option.by_level:
        level_text, colon, limit_text = text.partition(":")
        if not colon:
            raise UserError(f"{option.flag}: got '{text}', expected FPR:BUDGET, such as 1%:0.05")
        level, limit = parse_rate(level_text, option.flag), parse_rate(limit_text, option.flag)
        quantity = _at_level(reported, option.flag, level, level_text)
    elif reported:
        (quantity,), limit = reported, parse_rate(text, option.flag)
    else:
        attacks = ",".join(dict.fromkeys(results.findings["attack"]))
        raise UserError(
            f"{option.flag}: the findings have no column '{metric.quantity.column}': they were written without this"
            f" metric; write them again: pruneaudit attack RUN --attacks '{attacks}'"
        )
    guessing = quantity.guessing
    if guessing is not None and limit < guessing:
        raise UserError(
            f"{option.flag}: got '{text}', expected a budget of at least the value of random guessing"
            f" ({quantity.value(guessing)})"
        )
    return Budget(quantity, limit, metric)


def _at_level(reported: Sequence[Quantity], flag: str, level: float, text: str) -> Quantity:
    """Returns the quantity at a false-positive rate, which the user wrote as `text`."""
    known = [(quantity.level, quantity) for quantity in reported if quantity.level is not None]
    matching = [quantity for rate, quantity in known if math.isclose(rate, level, rel_tol=1e-9)]
    if not matching:
        levels = ", ".join(f"{100 * rate:g}%" for rate, _ in known) or "none"
        raise UserError(
            f"{flag}: got the false-positive rate '{text.strip()}', expected one that the run reports: {levels}"
            " (audit.fpr_levels of the study)"
        )
    return matching[0]
