"""The table of attacks on reduced outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.selection import headline_rate, references_named
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes, TableRow

STORED = "all stored outputs: the other rows are compared with this one"
NOT_BOTH = "suppressed here, or on all stored outputs"


@dataclass(frozen=True)
class OutputsLine:
    """One attack in one attack setting at one kind of outputs."""

    release: str
    references: str
    attack: str
    outputs: str
    cells: tuple[Cell, ...]
    """For each quantity its value, and its difference from the value on all stored outputs."""


@dataclass(frozen=True)
class OutputsTable:
    """The table of all of them."""

    quantities: tuple[Quantity, ...]
    lines: tuple[OutputsLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""


def outputs_table(results: Results) -> OutputsTable | None:
    """AUC and the TPR that summaries show, at each kind of outputs; None if no audit of fewer outputs was asked for."""
    table, notes = results.outputs, Notes()
    if table.empty:
        return None
    rate = headline_rate(results)
    quantities = (AUC, *([rate] if rate is not None and rate.column in set(table["metric"]) else []))
    lines, seen = [], set()
    for key, rows in table.groupby(["release", "references", "attack", "outputs"], sort=False):
        release, references, attack, outputs = map(str, key)
        by_metric = {row["metric"]: row for row in rows.to_dict("records")}
        no_difference = NOT_BOTH if (release, references, attack) in seen else STORED  # the first row of each
        seen.add((release, references, attack))
        cells = [cell for one in quantities for cell in _cells(by_metric.get(one.column), one, no_difference, notes)]
        lines.append(OutputsLine(release, references_named(results, references), attack, outputs, tuple(cells)))
    return OutputsTable(quantities, tuple(lines), notes.listed())


def _cells(row: TableRow | None, quantity: Quantity, no_difference: str, notes: Notes) -> tuple[Cell, Cell]:
    """The value and the difference of one quantity; `no_difference` is the reason if only the latter is missing."""
    if row is None or math.isnan(row["value"]):
        missing = Cell("", note=notes.number((row is not None and row["suppressed"]) or NO_REASON))
        return missing, missing
    value = Cell(quantity.value(row["value"]), quantity.interval(row["low"], row["high"]))
    change, low, high = row["difference"], row["difference_low"], row["difference_high"]
    if math.isnan(change):
        return value, Cell("", note=notes.number(no_difference))
    return value, Cell(
        quantity.signed(change), quantity.signed_interval(low, high), stands_out=bool(low > 0 or high < 0)
    )
