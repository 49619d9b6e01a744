"""The gate's answer: a verdict for each figure, and the overall outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from pruneaudit.gate.budgets import Budget
from pruneaudit.metrics import Quantity

Outcome = Literal["within", "over", "suppressed"]
EXIT_CODES: Mapping[Outcome, int] = {"within": 0, "over": 1, "suppressed": 2}


@dataclass(frozen=True)
class Verdict:
    """One figure compared with its budget."""

    release: str
    references: str
    attack: str
    budget: Budget
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    num_victims: int = 0
    reason: str = ""
    """Why there is no figure, or no interval; empty if there is."""
    is_unchecked: bool = False
    """The run has no sanity checks of this attack."""

    @property
    def outcome(self) -> Outcome:
        """`suppressed` without a figure; `over` if the upper end of its interval exceeds the budget; else `within`."""
        if self.reason:
            return "suppressed"
        return "over" if self.high > self.budget.limit else "within"


@dataclass(frozen=True)
class Gate:
    """The answer of the gate."""

    verdicts: tuple[Verdict, ...]
    """The deciding verdicts, in the order of the study: by release, references, attack and budget."""
    not_checked: tuple[str, ...]
    """Releases that were left out because they are only for comparison: neither compressed nor defended."""
    notes: tuple[str, ...]
    """Caveats about the figures."""
    others_over: tuple[Verdict, ...] = ()
    """Figures of the same releases that are over budget but do not decide, because the user restricted attack or
    references."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """The deciding attacks without sanity checks, and why."""

    @property
    def outcome(self) -> Outcome:
        """`suppressed` if any deciding figure is; else `over` if any is; else `within`."""
        found = {verdict.outcome for verdict in self.verdicts}
        return "suppressed" if "suppressed" in found else "over" if "over" in found else "within"

    @property
    def exit_code(self) -> int:
        """0: within all budgets; 1: over one; 2: not answered."""
        return EXIT_CODES[self.outcome]


def verdict_of(row: pd.Series, budget: Budget) -> Verdict:
    """Returns the verdict on one figure of a row of findings."""
    measured = budget.metric.restates or budget.quantity
    value, low, high = (float(row[f"{measured.column}{end}"]) for end in ("", "_low", "_high"))
    if budget.metric.restates:
        value, low, high = (budget.metric.restated(number) for number in (value, low, high))
    reason = ""
    if math.isnan(value):
        reason = _reasons(row, measured) or str(row["suppressed"]) or "no figure was computed"
    elif math.isnan(high):
        reason = _reasons(row, measured) or "it has no interval"
    victims = 0 if math.isnan(row["num_victims"]) else int(row["num_victims"])
    which = (str(row["release"]), str(row["references"]), str(row["attack"]))
    return Verdict(*which, budget, value, low, high, victims, reason)


def _reasons(row: pd.Series, quantity: Quantity) -> str:
    """Returns why the row suppresses this figure; empty if it gives no reason."""
    parts = [part.partition(": ") for part in str(row["suppressed"]).split("; ")]
    return "; ".join(why for name, _, why in parts if name.casefold() == quantity.title.casefold())
