"""Numbers of a table: each with its interval, or the reason why it is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.report.compressed import of_all_parameters
from pruneaudit.report.quantities import (
    Quantity,
    bytes_text,
    sparsity_text,
)

NO_REASON = "no figure was computed for this row"
NO_STEP = "this release does not have that step"
NOT_RECORDED = "the run recorded nothing about the weights"


TableRow = pd.Series | Mapping[Any, Any]
"""A row of a table of results, by column."""


@dataclass(frozen=True)
class Cell:
    """One number with its interval; `value` is empty if there is none, and `note` says why."""

    value: str
    interval: str = ""
    note: int | None = None
    """1-based number of the reason below the table."""
    stands_out: bool = False
    """A difference whose interval excludes 0."""


@dataclass(frozen=True)
class Row:
    """One line: its head, its settings, and its numbers."""

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


def estimate(row: TableRow, quantity: Quantity, notes: Notes) -> Cell:
    """The cell of one quantity in a row of findings or releases."""
    value = _number(row, quantity.column)
    if math.isnan(value):
        return Cell("", note=notes.number(reason_for(row, quantity)))
    low, high = _number(row, f"{quantity.column}_low"), _number(row, f"{quantity.column}_high")
    return Cell(quantity.value(value), quantity.interval(low, high))


def reason_for(row: TableRow, quantity: Quantity) -> str:
    """Returns why a row has no figure of a quantity: the reasons that begin with its name, else all of them."""
    suppressed = str(row.get("suppressed", ""))
    named = [part for part in suppressed.split("; ") if part.casefold().startswith(f"{quantity.title.casefold()}:")]
    return "; ".join(named) or suppressed or NO_REASON


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


def size_cell(row: pd.Series, notes: Notes) -> Cell:
    """Bytes of the whole network and bits per weight, both by the entropy bound, in a row of the releases table.

    Of a user's own release bytes alone may be known.
    """
    bits, size = float(row["effective_bits"]), float(row["compressed_bytes"])
    if math.isnan(size):
        return Cell("", note=notes.number(NOT_RECORDED))
    return Cell(bytes_text(size), "" if math.isnan(bits) else f"{bits:.2f} bits per weight")


def nonzero_cell(row: pd.Series, notes: Notes) -> Cell:
    """Nonzero parameters in a row of the releases table, and of how many."""
    whole, left = row["parameters"], row["nonzero_parameters"]
    if math.isnan(left):
        return Cell("", note=notes.number(NOT_RECORDED))
    return Cell(count_text(left) + ("" if math.isnan(whole) else f" of {count_text(whole)}"))


def _number(row: TableRow, column: str) -> float:
    return float(row.get(column, math.nan))


def count_text(value: Any) -> str:
    """A count; a mean over victims has one decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
