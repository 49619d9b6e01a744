"""The table of attacks on the structure of releases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.structure import structure_leaks
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.selection import headline_rate
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

NULL = "chosen before any training"
_STARTS = {"own": "own", "same": "the same", "unknown": "not known"}


@dataclass(frozen=True)
class StructureLine:
    """One attack on the structure of one release."""

    release: str
    what: str
    """The structure that the release shows, such as `mask`."""
    starts: str
    """Whether each network started from its own initial weights."""
    attack: str
    variant: str
    """The number of bits, and the number that vary."""
    best_on_outputs: str
    """The attack on outputs with the highest AUC; empty without any."""
    cells: tuple[Cell, ...]
    """Each quantity of the attack, then of the best attack on outputs."""


@dataclass(frozen=True)
class StructureTable:
    """The table of all of them."""

    quantities: tuple[Quantity, ...]
    lines: tuple[StructureLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""


def structure_table(results: Results) -> StructureTable | None:
    """AUC and the TPR that summaries show, of structure and of outputs; None if no attack on structure was played."""
    found, notes, rate = structure_leaks(results), Notes(), headline_rate(results)
    if not found:
        return None
    quantities = (AUC, *([rate] if rate is not None else []))
    lines = []
    for leak in found:
        rows = [leak.row, leak.best_on_outputs]
        cells = tuple(_cell(row, quantity, notes) for row in rows for quantity in quantities)
        best = "" if leak.best_on_outputs is None else str(leak.best_on_outputs["attack"])
        what = f"{leak.what}, {NULL}" if leak.is_null else leak.what
        variant = str(leak.row["variant"])
        lines.append(StructureLine(leak.release, what, _STARTS[leak.starts], leak.attack, variant, best, cells))
    return StructureTable(quantities, tuple(lines), notes.listed())


def _cell(row: pd.Series | None, quantity: Quantity, notes: Notes) -> Cell:
    if row is None or math.isnan(row[quantity.column]):
        return Cell("", note=notes.number((row is not None and str(row["suppressed"])) or NO_REASON))
    low, high = row[f"{quantity.column}_low"], row[f"{quantity.column}_high"]
    return Cell(quantity.value(row[quantity.column]), quantity.interval(low, high))
