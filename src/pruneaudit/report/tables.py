"""The tables of the report as plain data; templates only lay them out.

Rows and columns stand in the order of the study; nothing is sorted or left out by its result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by
from pruneaudit.report.quantities import (
    AUC,
    TEST_ACCURACY,
    TRAIN_ACCURACY,
    Quantity,
    bytes_text,
    compared_quantities,
    quantities_of,
    ranking_quantities,
    sparsity_text,
)
from pruneaudit.report.selection import base_release, holds_zero, references_named, release_row

NO_REASON = "no figure was computed for this row"
NO_STEP = "that step is no part of this release"
NOT_RECORDED = "nothing was recorded of the weights"


@dataclass(frozen=True)
class Cell:
    """One number with its interval; an empty `value` means there is none and `note` says why."""

    value: str
    interval: str = ""
    note: int | None = None
    """1-based number of the reason below the table."""
    stands_out: bool = False
    """A difference whose interval excludes 0."""


@dataclass(frozen=True)
class Row:
    """One line: what it is about, how that was set, and its numbers."""

    head: str
    detail: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """The lines of one release under one kind of references or against one baseline."""

    release: str
    against: str
    """The references (findings) or the baseline (differences)."""
    extra: Cell | None
    """The test accuracy, or its difference: it belongs to the release, not to an attack."""
    rows: tuple[Row, ...]

    @property
    def num_rows(self) -> int:
        """How many lines there are."""
        return len(self.rows)


@dataclass(frozen=True)
class Table:
    """A table of the report."""

    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""


class Notes:
    """Reasons for missing numbers, each listed once, in the order of first use."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def number(self, reason: str) -> int:
        """The number (from 1) under which the reason is listed."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason) + 1

    def listed(self) -> tuple[str, ...]:
        """All reasons so far; number n is item n - 1."""
        return tuple(self._reasons)


def estimate(row: pd.Series, quantity: Quantity, notes: Notes) -> Cell:
    """The cell of one quantity in a row of findings or releases."""
    value = _number(row, quantity.column)
    if math.isnan(value):
        return Cell("", note=notes.number(_reason(row, quantity)))
    low, high = _number(row, f"{quantity.column}_low"), _number(row, f"{quantity.column}_high")
    return Cell(quantity.value(value), quantity.interval(low, high))


def _reason(row: pd.Series, quantity: Quantity) -> str:
    """The row's reasons that begin with the quantity's name, else all of them."""
    suppressed = str(row.get("suppressed", ""))
    named = [part for part in suppressed.split("; ") if part.casefold().startswith(f"{quantity.title.casefold()}:")]
    return "; ".join(named) or suppressed or NO_REASON


def findings_table(results: Results, victim: str = MEAN) -> Table:
    """The findings of one kind of victim, grouped by release and references."""
    notes = Notes()
    rows = results.findings[results.findings["victim"] == victim]
    quantities = quantities_of(rows.columns)
    if victim == POOLED:
        # Over all pairs no threshold is learned, so there may be nothing that was measured at one.
        of_ranking = ranking_quantities(rows.columns)
        quantities = tuple(q for q in quantities if q in of_ranking or rows[q.column].notna().any())
    groups = []
    for (release, references), part in rows.groupby(["release", "references"], sort=False):
        row_of_release = release_row(results, str(release))
        accuracy = None if row_of_release is None else estimate(row_of_release, TEST_ACCURACY, notes)
        lines = [_finding_line(row, quantities, notes) for _, row in part.iterrows()]
        groups.append(Group(str(release), references_named(results, str(references)), accuracy, tuple(lines)))
    counts = ("Victims", "Members", "Non-members", "Without a score")
    return Table((*(quantity.title for quantity in quantities), *counts), tuple(groups), notes.listed())


def _finding_line(row: pd.Series, quantities: Iterable[Quantity], notes: Notes) -> Row:
    numbers = [estimate(row, quantity, notes) for quantity in quantities]
    counts = [
        Cell(_count(row[column])) if not math.isnan(row[column]) else Cell("", note=notes.number(NO_REASON))
        for column in ("num_victims", "num_members", "num_nonmembers", "num_unscored")
    ]
    return Row(str(row["attack"]), str(row["variant"]), (*numbers, *counts))


def differences_table(results: Results) -> Table:
    """Paired differences, grouped by release and baseline; one column per metric."""
    notes = Notes()
    found = set(results.comparisons["metric"])
    candidates = compared_quantities([*results.findings.columns, *results.comparisons["metric"]])
    quantities = tuple(quantity for quantity in candidates if quantity.column in found)
    groups = []
    # What the base release is compared with is compared with it in its own lines, the other way round.
    compared = results.comparisons[results.comparisons["release"] != base_release(results)]
    for (release, baseline), part in compared.groupby(["release", "baseline"], sort=False):
        accuracy = part[part["metric"] == TEST_ACCURACY.column]
        extra = None if accuracy.empty else _difference_cell(accuracy.iloc[0], TEST_ACCURACY, notes)
        lines = []
        attacks = part[part["attack"] != ""]
        for (attack, references), of_attack in attacks.groupby(["attack", "references"], sort=False):
            by_metric = {row["metric"]: row for _, row in of_attack.iterrows()}
            cells = [_difference_cell(by_metric.get(quantity.column), quantity, notes) for quantity in quantities]
            counts = of_attack["num_victims"].dropna()
            cells.append(Cell(_count(counts.iloc[0])) if len(counts) else Cell("", note=notes.number(NO_REASON)))
            lines.append(Row(str(attack), f"references: {references_named(results, str(references))}", tuple(cells)))
        groups.append(Group(str(release), str(baseline), extra, tuple(lines)))
    titles = [f"{quantity.title} (points)" if quantity.is_percent else quantity.title for quantity in quantities]
    return Table((*titles, "Victims"), tuple(groups), notes.listed())


def _difference_cell(row: pd.Series | None, quantity: Quantity, notes: Notes) -> Cell:
    if row is None or math.isnan(row["difference"]):
        return Cell("", note=notes.number("refused or missing in the release or in its baseline: see the findings"))
    interval = quantity.signed_interval(row["low"], row["high"])
    return Cell(quantity.signed(row["difference"]), interval, stands_out=not holds_zero(row))


@dataclass(frozen=True)
class CanaryLine:
    """One line of the canaries table."""

    release: str
    references: str
    attack: str
    auc: str
    """AUC and interval."""
    epsilon: str
    """Lower bound from one run, the highest that holds of all victims; with right guesses."""
    epsilon_many: str
    """Lower bound from many runs; empty where there is none."""
    num_canaries: int
    num_victims: int


def canaries_table(results: Results) -> tuple[CanaryLine, ...]:
    """What attacks achieve on canaries: one line per release, references and attack."""
    lines = []
    for (release, references, attack), part in results.canaries.groupby(
        ["release", "references", "attack"], sort=False
    ):
        of_all = {row["figure"]: row for _, row in part[part["victim"].isin(["mean", "every victim"])].iterrows()}
        area = of_all.get("auc")
        texts = [
            f"{row['value']:.2f} ({row['correct']:.0f} of {row['guesses']:.0f} right)" if row is not None else ""
            for row in (of_all.get("epsilon, one run"), of_all.get("epsilon, many runs"))
        ]
        auc = "" if area is None else f"{AUC.value(area['value'])} {AUC.interval(area['low'], area['high'])}"
        counts = int(part["num_canaries"].iloc[0]), int(part["num_victims"].max())
        references = references_named(results, str(references))
        lines.append(CanaryLine(str(release), references, str(attack), auc, texts[0], texts[1], *counts))
    return tuple(lines)


@dataclass(frozen=True)
class ReleaseLine:
    """One line of the releases table."""

    release: str
    compression: str
    """Compressors and degrees, its parents' first."""
    origin: str
    sparsity: Cell
    nonzero: Cell | None
    """None where another table has it."""
    cells: tuple[Cell, ...]


def releases_table(results: Results, with_nonzero: bool = True) -> tuple[tuple[ReleaseLine, ...], tuple[str, ...]]:
    """What each release is, and the reasons for numbers that are missing."""
    notes = Notes()
    lines = []
    for _, row in results.releases.iterrows():
        cells = [estimate(row, TRAIN_ACCURACY, notes), estimate(row, TEST_ACCURACY, notes)]
        for step in ("before", "after_pruning", "after_finetuning"):
            value = row[f"test_accuracy_{step}"]
            cells.append(
                Cell("", note=notes.number(NO_STEP)) if math.isnan(value) else Cell(TEST_ACCURACY.value(value))
            )
        sparsity, nonzero = sparsity_cell(row, notes), _nonzero_cell(row, notes) if with_nonzero else None
        how = compressed_by(results, row["release"])
        lines.append(ReleaseLine(row["release"], how, row["origin"], sparsity, nonzero, tuple(cells)))
    return tuple(lines), notes.listed()


def sparsity_cell(row: pd.Series, notes: Notes, with_bits: bool = True) -> Cell:
    """The sparsity in a row of the releases table: of the prunable weights, and of all parameters.

    Args:
        row: of the releases table.
        notes: why numbers are missing.
        with_bits: show bits per weight where nothing was removed.
    """
    if math.isnan(row["sparsity"]):
        return Cell("", note=notes.number(NOT_RECORDED))
    shown = of_all_parameters(row) if with_bits or row["sparsity_all"] > 0 else ""
    return Cell(sparsity_text(row["sparsity"]), shown)


def of_all_parameters(row: pd.Series) -> str:
    """The sparsity over all parameters, in words; where nothing was removed but compressed, the bits per weight.

    Empty where neither was recorded.
    """
    if row["sparsity_all"] > 0:
        return f"{sparsity_text(row['sparsity_all'])} of all parameters"
    return f"{row['effective_bits']:.2f} bits per weight" if row["compress"] and row["effective_bits"] > 0 else ""


def size_cell(row: pd.Series, notes: Notes) -> Cell:
    """Bits per weight and bytes of the whole network, both by the entropy bound, in a row of the releases table."""
    bits, size = float(row["effective_bits"]), float(row["compressed_bytes"])
    if math.isnan(bits) or math.isnan(size):
        return Cell("", note=notes.number(NOT_RECORDED))
    return Cell(f"{bits:.2f} bits per weight", bytes_text(size))


def _nonzero_cell(row: pd.Series, notes: Notes) -> Cell:
    whole, left = row["parameters"], row["nonzero_parameters"]
    if math.isnan(left):
        return Cell("", note=notes.number(NOT_RECORDED))
    return Cell(_count(left) + ("" if math.isnan(whole) else f" of {_count(whole)}"))


def refusals(results: Results) -> tuple[tuple[str, str], ...]:
    """Each reason for which a figure was refused, with the rows it was refused in (as a text)."""
    where: dict[str, list[str]] = {}
    for _, row in results.findings.iterrows():
        for reason in dict.fromkeys(part.strip() for part in row["suppressed"].split(";")):
            if reason:
                where.setdefault(reason, []).append(row["attack"])
    return tuple(
        (reason, f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}: {', '.join(dict.fromkeys(rows))}")
        for reason, rows in where.items()
    )


def _number(row: pd.Series, column: str) -> float:
    return float(row.get(column, math.nan))


def _count(value: Any) -> str:
    """A count; means over victims may be no whole number."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
