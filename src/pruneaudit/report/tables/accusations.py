"""The table of positive predictive values (the worth of an accusation), under the primary attack.

The table has two thresholds. The network's own threshold comes from its non-members, so no attacker knows it. The
learned threshold comes from references, so an attacker has it. Its real false-positive rate differs between networks,
and so does the worth of an accusation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import Quantity, headline_tpr
from pruneaudit.report.selection import (
    is_one_network,
    primary_attack,
    primary_references,
    references_named,
    release_names,
    shown_references,
)
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes
from pruneaudit.study import DENSE

_PPV = Quantity("ppv", "PPV", is_percent=True, places=1)
_FPR = Quantity("learned_fpr", "FPR", is_percent=True, places=2)


@dataclass(frozen=True)
class AccusationLine:
    """One release at one prior."""

    release: str
    prior: str
    own: Cell
    """At the networks' own thresholds, with its 95% interval."""
    learned: Cell
    """At the thresholds that references teach: the mean over networks, and the standard deviation."""
    worst: Cell
    """The network in which an accusation is right most often."""
    realised: Cell
    """The false-positive rate there: mean, and lowest and highest over several networks."""


@dataclass(frozen=True)
class Accusations:
    """The table."""

    attack: str
    references: str
    level: str
    """The nominal false-positive rate."""
    lines: tuple[AccusationLine, ...]
    notes: tuple[str, ...]


def accusations(results: Results) -> Accusations | None:
    """Returns the PPV of the primary attack at the rate of summaries, or the lowest with a figure; None without any."""
    attack, references = primary_attack(results), primary_references(results)
    table = results.ppv[results.ppv["attack"] == attack]
    if table.empty:
        return None
    level = _level(results, table)
    notes, lines = Notes(), []
    for release in release_names(results):
        rows = table[(table["release"] == release) & (table["fpr"] == level)]
        primary = rows[rows["references"] == shown_references(results, release)]
        chosen = rows if primary.empty and release == DENSE else primary
        lines += [_line(row, notes, is_one_network(results)) for _, row in chosen.iterrows()]
    named = references_named(results, references)
    return Accusations(attack, named, f"{100 * level:g}%", tuple(lines), notes.listed()) if lines else None


def _level(results: Results, table: pd.DataFrame) -> float:
    shown, levels = headline_tpr(results.findings.columns), sorted(set(table["fpr"]))
    preferred = [level for level in levels if shown and shown.level and math.isclose(level, shown.level)]
    return float((preferred or levels)[0])


def _line(row: pd.Series, notes: Notes, is_one: bool) -> AccusationLine:
    reason = str(row["suppressed"]) or NO_REASON
    extremes = "" if is_one else _FPR.interval(row["learned_fpr_min"], row["learned_fpr_max"])
    return AccusationLine(
        str(row["release"]),
        f"{100 * row['prior']:g}%",
        _cell(_PPV, row["ppv"], _PPV.interval(row["low"], row["high"]), notes, reason),
        _cell(_PPV, row["learned_ppv"], _deviation(row["learned_ppv_sd"]), notes, reason),
        _cell(_PPV, row["learned_ppv_max"], "", notes, reason),
        _cell(_FPR, row["learned_fpr"], extremes, notes, reason),
    )


def _deviation(value: float) -> str:
    return "" if math.isnan(value) else f"(SD {100 * value:.1f})"


def _cell(quantity: Quantity, value: float, beside: str, notes: Notes, reason: str) -> Cell:
    return Cell("", note=notes.number(reason)) if math.isnan(value) else Cell(quantity.value(value), beside)
