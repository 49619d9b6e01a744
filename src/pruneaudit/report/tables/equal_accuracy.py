"""Each release at equal accuracy, as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity, ranking_quantities
from pruneaudit.report.selection import NEAR, far_from_baselines, given_baseline, release_row
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

KINDS: dict[tuple[bool, bool] | None, str] = {
    (False, False): "undefended, dense",
    (True, False): "compressed",
    (False, True): "defended",
    (True, True): "compressed and defended",
    None: "changed, not stated how",
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


@dataclass(frozen=True)
class FrontierLine:
    """One release."""

    release: str
    kind: str
    """What was done to it, in words."""
    accuracy: Cell
    compared: tuple[Compared, ...]
    """One for each metric."""


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
    """There are so few victims that intervals are conditional on this bank."""
    near_points: float = 100 * NEAR
    """Percentage points of test accuracy up to which networks are similar."""


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
    shown = frontier_metrics(results) if metrics is None else metrics
    table, notes = results.frontier, Notes()
    if not shown or table.empty:
        return None
    lines = []
    for release, rows in table.groupby("release", sort=False):
        first = rows.iloc[0]
        limits = TEST_ACCURACY.interval(first["test_accuracy_low"], first["test_accuracy_high"])
        accuracy = Cell(TEST_ACCURACY.value(first["test_accuracy"]), limits)
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        compared = tuple(_compared(by_metric.get(metric.column), metric, notes) for metric in shown)
        lines.append(FrontierLine(str(release), kind_of(results, str(release)), accuracy, compared))
    return FrontierTable(
        str(table["attack"].iloc[0]),
        str(table["references"].iloc[0]),
        shown,
        tuple(lines),
        notes.listed(),
        int((table.drop_duplicates("release")["is_baseline"] == 1).sum()),
        len(far_from_baselines(results)),
        bool(table["num_victims"].min() < FEW_MODELS),
    )


def _compared(row: pd.Series | None, metric: Quantity, notes: Notes) -> Compared:
    if row is None or math.isnan(row["leakage"]):
        missing = Cell("", note=notes.number(NO_REASON if row is None else row["suppressed"] or NO_REASON))
        return Compared(missing, False, missing, "")
    leakage = Cell(metric.value(row["leakage"]), metric.interval(row["leakage_low"], row["leakage_high"]))
    return Compared(leakage, row["dominated"] == 1, _difference(row, metric, notes), row["envelope_release"])


def _difference(row: pd.Series, metric: Quantity, notes: Notes) -> Cell:
    """The difference at equal accuracy; its interval may have no lower end."""
    value, low, high = row["difference"], row["difference_low"], row["difference_high"]
    if math.isnan(value):
        return Cell("", note=notes.number(row["suppressed"] or NO_REASON))
    return Cell(metric.signed(value), metric.signed_interval(low, high), stands_out=bool(low > 0 or high < 0))


def kind_of(results: Results, release: str) -> str:
    """What was done to a release: one of `KINDS`."""
    if given_baseline(results) not in ("", release):
        return KINDS[None]
    made = release_row(results, release)
    compressed, defended = (made is not None and bool(made[what]) for what in ("compress", "defense"))
    return KINDS[compressed, defended]
