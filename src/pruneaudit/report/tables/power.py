"""The table of attacks with fewer references, and of LiRA with more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.power import COMMON, EXTRAPOLATED, SCORED
from pruneaudit.report.quantities import AUC, Quantity, headline_tpr
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

FIRST = "the smallest number of references with a figure: there is no smaller one to compare it with"
_NOT_PREDICTED = "only the AUC is extrapolated"


@dataclass(frozen=True)
class PowerLine:
    """One attack on one release with one number of references."""

    release: str
    references: str
    attack: str
    num_references: int
    is_extrapolated: bool
    share_scored: str
    cells: tuple[Cell, ...]
    """AUC, its difference from fewer references, the AUC on common samples, and the TPR if there is one."""


@dataclass(frozen=True)
class PowerTable:
    """The table of all of them."""

    rate: Quantity | None
    lines: tuple[PowerLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    num_subsets: int
    """Subsets of each size for each victim."""


def power_table(power: pd.DataFrame) -> PowerTable | None:
    """The rows of the table `power` for readers; None without any."""
    if power.empty:
        return None
    rate, notes, lines = headline_tpr(list(dict.fromkeys(power["metric"]))), Notes(), []
    keys = ["release", "references", "attack", "kind", "num_references"]
    for key, rows in power.groupby(keys, sort=False):
        release, references, attack, kind = map(str, key[:4])
        by = {(row["samples"], row["metric"]): row for row in rows.to_dict("records")}
        own = by[SCORED, AUC.column]
        is_extrapolated = kind == EXTRAPOLATED
        missing = _NOT_PREDICTED if is_extrapolated else NO_REASON
        cells = [_value(own, AUC, notes), _change(own, _NOT_PREDICTED if is_extrapolated else FIRST, notes)]
        cells += [_value(by.get((COMMON, AUC.column)), AUC, notes, missing)]
        cells += [_value(by.get((SCORED, rate.column)), rate, notes, missing)] if rate else []
        share = "" if is_extrapolated else f"{100 * own['share_scored']:.0f}%"
        lines.append(
            PowerLine(release, references, attack, int(own["num_references"]), is_extrapolated, share, tuple(cells))
        )
    return PowerTable(rate, tuple(lines), notes.listed(), int(power["num_subsets"].max()))


def _value(row: Mapping[Any, Any] | None, quantity: Quantity, notes: Notes, missing: str = NO_REASON) -> Cell:
    if row is None or math.isnan(row["value"]):
        return Cell("", note=notes.number((row is not None and row["suppressed"]) or missing))
    return Cell(quantity.value(row["value"]), quantity.interval(row["low"], row["high"]))


def _change(row: Mapping[Any, Any], first: str, notes: Notes) -> Cell:
    change, low, high = (row[column] for column in ("difference", "difference_low", "difference_high"))
    if math.isnan(change):
        return Cell("", note=notes.number((math.isnan(row["value"]) and row["suppressed"]) or first))
    return Cell(AUC.signed(change), AUC.signed_interval(low, high), stands_out=bool(low > 0 or high < 0))
