"""The measured quantities: which column each lives in, what it is called, how it is written.

Rates are kept in 0..1 everywhere and turned into percent only here. Differences of rates are in
percentage points. ASCII only: the same texts go to the page and to any terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pruneaudit.evaluation.columns import tpr_levels, tpr_title

PREFERRED_LEVEL = 0.01
"""The false-positive rate that summaries show, where the study reports it (fixed beforehand)."""


@dataclass(frozen=True)
class Quantity:
    """One column of numbers and how to write them."""

    column: str
    title: str
    is_percent: bool = False
    places: int = 3
    """Decimals, after the turn into percent."""
    level: float | None = None
    """For a TPR: its false-positive rate (0..1), which is also what guessing reaches."""

    def value(self, value: float) -> str:
        """`0.763`, or `12.3%`."""
        return f"{self._scaled(value)}%" if self.is_percent else self._scaled(value)

    def interval(self, low: float, high: float) -> str:
        """`[0.751, 0.775]`; percent signs are left out. Empty where a limit is missing."""
        if math.isnan(low) or math.isnan(high):
            return ""
        return f"[{self._scaled(low)}, {self._scaled(high)}]"

    def difference(self, value: float) -> str:
        """`-0.120`, or `-3.1 points`."""
        return self.signed(value) + (" points" if self.is_percent else "")

    def signed(self, value: float) -> str:
        """`-0.120` or `-3.1`: the number of a difference without its unit."""
        return self._scaled(value, "+")

    def signed_interval(self, low: float, high: float) -> str:
        """`[-0.140, +0.020]`; `[at most +0.020]` where the interval is open below; empty without an upper limit."""
        if math.isnan(low) and not math.isnan(high):
            return f"[at most {self.signed(high)}]"
        if math.isnan(low) or math.isnan(high):
            return ""
        return f"[{self.signed(low)}, {self.signed(high)}]"

    def _scaled(self, value: float, sign: str = "") -> str:
        text = f"{100 * value if self.is_percent else value:{sign}.{self.places}f}"
        # A difference that rounds to zero has no direction to show.
        return text.replace("-", "+" if sign else "", 1) if float(text) == 0 else text


AUC = Quantity("auc", "AUC")
BALANCED_ACCURACY = Quantity("balanced_accuracy", "Balanced accuracy", is_percent=True, places=1)
ADVANTAGE = Quantity("advantage", "Advantage")
TEST_ACCURACY = Quantity("test_accuracy", "Test accuracy", is_percent=True, places=1)
TRAIN_ACCURACY = Quantity("train_accuracy", "Training accuracy", is_percent=True, places=1)


def tpr_quantities(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """The TPR of each level among these columns, once each, in their order (the study's)."""
    return tuple(_tpr_quantity(column, level) for column, level in tpr_levels(columns).items())


def headline_tpr(columns: Iterable[str]) -> Quantity | None:
    """The TPR that summaries show: at 1% where the study has it, else at its lowest level."""
    rates = [(rate.level, rate) for rate in tpr_quantities(columns) if rate.level is not None]
    preferred = [rate for level, rate in rates if math.isclose(level, PREFERRED_LEVEL)]
    return preferred[0] if preferred else min(rates, key=lambda pair: pair[0])[1] if rates else None


def quantities_of(columns: Iterable[str]) -> tuple[Quantity, ...]:
    """The columns of a table of findings, in the order they are shown."""
    return (AUC, *tpr_quantities(columns), BALANCED_ACCURACY, ADVANTAGE)


def sparsity_text(sparsity: float) -> str:
    """`90%`, `97.5%` for a fraction in 0..1; never rounded up to 100% or down to 0% when it is neither."""
    for places in (1, 2, 3, 4):
        text = f"{100 * sparsity:.{places}f}"
        if float(text) not in (0.0, 100.0) or sparsity in (0.0, 1.0):
            break
    return text.rstrip("0").rstrip(".") + "%"


def _tpr_quantity(column: str, level: float) -> Quantity:
    # Below 1% FPR the rates themselves are small: one decimal would hide them.
    return Quantity(column, tpr_title(level), is_percent=True, places=1 if level >= 0.01 else 2, level=level)
