"""Budgets: how high a figure may be, from the texts that users write."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import ADVANTAGE, AUC, Quantity, tpr_quantities

NO_BUDGET = "no budget was given, expected at least one, such as: --max-tpr 1%:0.05 --max-auc 0.6"
GUESSING_AUC = 0.5
_RATE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?\s*(%?)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """How high one figure may be."""

    quantity: Quantity
    limit: float
    """In 0..1; the upper end of the interval may reach it."""


def parse_rate(text: str, where: str) -> float:
    """`0.05` or `5%` as a number in 0..1, the very one that the digits name (0.7% is 0.007).

    Raises:
        UserError: the text is no such number; `where` names it.
    """
    found = _RATE.fullmatch(text.strip())
    rate = Decimal(found[1] + (found[2] or "")) if found else Decimal(-1)
    rate = rate.scaleb(-2) if found and found[3] else rate
    if not 0 <= rate <= 1:
        raise UserError(f"{where}: got '{text}', expected a rate from 0 to 1, such as 0.05 or 5%")
    return float(rate)


def budgets_of(
    results: Results, max_tpr: Iterable[str] = (), max_auc: str | None = None, max_advantage: str | None = None
) -> tuple[Budget, ...]:
    """Budgets from their texts, for the figures that these results report.

    Args:
        results: what is to be checked.
        max_tpr: texts FPR:BUDGET, such as `1%:0.05` or `0.01:5%`.
        max_auc: an AUC, such as `0.6`.
        max_advantage: TPR - FPR at the learned threshold, such as `0.1`.

    Raises:
        UserError: none was given, one is no rate or below what guessing reaches, or the results report no TPR there.
    """
    found = [_tpr_budget(results, text) for text in max_tpr]
    if max_auc is not None:
        found.append(_reachable(Budget(AUC, parse_rate(max_auc, "--max-auc")), GUESSING_AUC, "--max-auc", max_auc))
    if max_advantage is not None:
        found.append(Budget(ADVANTAGE, parse_rate(max_advantage, "--max-advantage")))
    if not found:
        raise UserError(NO_BUDGET)
    return tuple(dict.fromkeys(found))


def _tpr_budget(results: Results, text: str) -> Budget:
    option = "--max-tpr"
    level_text, colon, limit_text = text.partition(":")
    if not colon:
        raise UserError(f"{option}: got '{text}', expected FPR:BUDGET, such as 1%:0.05")
    level, limit = parse_rate(level_text, option), parse_rate(limit_text, option)
    reported = [(rate.level, rate) for rate in tpr_quantities(results.findings.columns) if rate.level is not None]
    matching = [rate for known, rate in reported if math.isclose(known, level, rel_tol=1e-9)]
    if not matching:
        levels = ", ".join(f"{100 * known:g}%" for known, _ in reported) or "none"
        raise UserError(
            f"{option}: got the false-positive rate '{level_text.strip()}', expected one that the run reports: {levels}"
            " (audit.fpr_levels of the study)"
        )
    return _reachable(Budget(matching[0], limit), level, option, text)


def _reachable(budget: Budget, guessing: float, option: str, text: str) -> Budget:
    if budget.limit < guessing:
        raise UserError(
            f"{option}: got '{text}', expected a budget of at least what guessing reaches"
            f" ({budget.quantity.value(guessing)})"
        )
    return budget
