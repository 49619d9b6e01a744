"""Each release at equal accuracy and at equal size, as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.candidates import SIZE_TOLERANCE
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity, bytes_text, ranking_quantities
from pruneaudit.report.selection import NEAR, far_from_baselines, given_baseline, release_row
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

KINDS: dict[tuple[bool, bool] | None, str] = {
    (False, False): "undefended, dense",
    (True, False): "compressed",
    (False, True): "defended",
    (True, True): "compressed and defended",
    None: "changed in an unknown way",
}
"""What was done to a release, by (compressed, defended); None: only its predictions are known."""


@dataclass(frozen=True)
class Compared:
    """One release in one metric."""

    leakage: Cell
    dominated: bool
    """Another release is at least as accurate, leaks no more, and is better in one of the two."""
    difference: Cell
    against: str
    """The release that is the envelope at its accuracy; empty where there is none."""
    at_size: Cell | None
    """The difference at equal size; None where the table does not show it."""
    size_against: str
    """The release that is the envelope at its accuracy and size; empty where there is none."""


@dataclass(frozen=True)
class FrontierLine:
    """One release."""

    release: str
    kind: str
    """What was done to it, in words."""
    accuracy: Cell
    compared: tuple[Compared, ...]
    """One for each metric."""
    size: str
    """The compressed size of its whole network; empty where it is unknown."""


@dataclass(frozen=True)
class FrontierTable:
    """The table of all releases."""

    attack: str
    references: str
    metrics: tuple[Quantity, ...]
    lines: tuple[FrontierLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    num_baselines: int
    num_far: int
    """Releases without a baseline of similar accuracy."""
    conditional: bool
    """So few victims that intervals are conditional on this bank."""
    with_sizes: bool
    """Releases were compared at equal size."""
    all_are_candidates: bool
    """It is unknown which releases are defended, so at equal size all are candidates."""
    near_points: float = 100 * NEAR
    """Percentage points of test accuracy up to which networks are similar."""
    tolerance_percent: float = 100 * SIZE_TOLERANCE
    """A release that is larger by up to this percentage counts as equally small."""


def frontier_metrics(results: Results) -> tuple[Quantity, ...]:
    """The metrics of the frontier in which any release has a figure."""
    table = results.frontier
    found = table.loc[table["leakage"].notna(), "metric"]
    return ranking_quantities(found)


def frontier_table(results: Results, metrics: tuple[Quantity, ...] | None = None) -> FrontierTable | None:
    """The table, or None where no release has a figure.

    Args:
        results: of a study.
        metrics: those to show; default: `frontier_metrics`.
    """
    shown, with_sizes = frontier_metrics(results) if metrics is None else metrics, has_equal_size(results)
    table, notes = results.frontier, Notes()
    if not shown or table.empty:
        return None
    lines = []
    for release, rows in table.groupby("release", sort=False):
        first = rows.iloc[0]
        limits = TEST_ACCURACY.interval(first["test_accuracy_low"], first["test_accuracy_high"])
        accuracy = Cell(TEST_ACCURACY.value(first["test_accuracy"]), limits)
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        compared = tuple(_compared(by_metric.get(metric.column), metric, with_sizes, notes) for metric in shown)
        size = "" if math.isnan(first["compressed_bytes"]) else bytes_text(first["compressed_bytes"])
        lines.append(FrontierLine(str(release), kind_of(results, str(release)), accuracy, compared, size))
    return FrontierTable(
        str(table["attack"].iloc[0]),
        str(table["references"].iloc[0]),
        shown,
        tuple(lines),
        notes.listed(),
        int((table.drop_duplicates("release")["is_baseline"] == 1).sum()),
        len(far_from_baselines(results)),
        bool(table["num_victims"].min() < FEW_MODELS),
        with_sizes,
        bool(given_baseline(results)),
    )


def has_equal_size(results: Results) -> bool:
    """Whether any release was compared at equal size: some are smaller than others."""
    return bool(results.frontier["size_difference"].notna().any())


def _compared(row: pd.Series | None, metric: Quantity, with_sizes: bool, notes: Notes) -> Compared:
    if row is None or math.isnan(row["leakage"]):
        missing = Cell("", note=notes.number(NO_REASON if row is None else row["suppressed"] or NO_REASON))
        return Compared(missing, False, missing, "", missing if with_sizes else None, "")
    leakage = Cell(metric.value(row["leakage"]), metric.interval(row["leakage_low"], row["leakage_high"]))
    differences = equal_accuracy_cell(row, metric, notes), equal_size_cell(row, metric, notes) if with_sizes else None
    return Compared(
        leakage, row["dominated"] == 1, differences[0], row["envelope_release"], differences[1], row["size_release"]
    )


def equal_accuracy_cell(row: pd.Series, metric: Quantity, notes: Notes) -> Cell:
    """The difference at equal accuracy in a row of the frontier."""
    return _difference(row, "", metric, notes)


def equal_size_cell(row: pd.Series, metric: Quantity, notes: Notes) -> Cell:
    """The difference at equal size in a row of the frontier."""
    return _difference(row, "size_", metric, notes)


def _difference(row: pd.Series, prefix: str, metric: Quantity, notes: Notes) -> Cell:
    """A difference to an envelope; its interval may have no lower end.

    Args:
        row: of the frontier.
        prefix: of the columns: none at equal accuracy, `size_` at equal size.
        metric: that it is of.
        notes: why numbers are missing.
    """
    value, low, high = (row[f"{prefix}difference{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return Cell("", note=notes.number(row[f"{prefix}suppressed"] or NO_REASON))
    return Cell(metric.signed(value), metric.signed_interval(low, high), stands_out=bool(low > 0 or high < 0))


def kind_of(results: Results, release: str) -> str:
    """What was done to a release: one of `KINDS`."""
    if given_baseline(results) not in ("", release):
        return KINDS[None]
    made = release_row(results, release)
    compressed, defended = (made is not None and bool(made[what]) for what in ("compress", "defense"))
    return KINDS[compressed, defended]
