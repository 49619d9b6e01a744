"""Findings, paired differences and canaries, in the order of the study. Results do not decide order or selection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pruneaudit.evaluation.canaries import AUC as AREA
from pruneaudit.evaluation.canaries import DP_SGD, EVERY, GAUSSIAN, MANY_RUNS, ONE_RUN
from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.family_canaries import is_of_family
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import (
    AUC,
    TEST_ACCURACY,
    Quantity,
    compared_quantities,
    quantities_of,
    ranking_quantities,
)
from pruneaudit.report.selection import base_release, holds_zero, references_named, release_row
from pruneaudit.report.tables.cells import NO_REASON, Cell, Group, Notes, Row, Table, TableRow, count_text, estimate


def findings_table(results: Results, victim: str = MEAN) -> Table:
    """The findings of one kind of victim, grouped by release and references."""
    notes = Notes()
    rows = results.findings[results.findings["victim"] == victim]
    quantities = quantities_of(rows.columns)
    if victim == POOLED:
        # No threshold is learned over all pairs, so figures at a threshold may be missing.
        of_ranking = ranking_quantities(rows.columns)
        quantities = tuple(q for q in quantities if q in of_ranking or rows[q.column].notna().any())
    groups = []
    for (release, references), part in rows.groupby(["release", "references"], sort=False):
        row_of_release = release_row(results, str(release))
        accuracy = None if row_of_release is None else estimate(row_of_release, TEST_ACCURACY, notes)
        lines = [_finding_line(row, quantities, notes) for row in part.to_dict("records")]
        groups.append(Group(str(release), references_named(results, str(references)), accuracy, tuple(lines)))
    counts = ("Victims", "Members", "Non-members", "Without a score")
    return Table((*(quantity.title for quantity in quantities), *counts), tuple(groups), notes.listed())


def _finding_line(row: TableRow, quantities: Iterable[Quantity], notes: Notes) -> Row:
    numbers = [estimate(row, quantity, notes) for quantity in quantities]
    counts = [
        Cell(count_text(row[column])) if not math.isnan(row[column]) else Cell("", note=notes.number(NO_REASON))
        for column in ("num_victims", "num_members", "num_nonmembers", "num_unscored")
    ]
    return Row(str(row["attack"]), str(row["variant"]), (*numbers, *counts))


def differences_table(results: Results) -> Table:
    """Paired differences, grouped by release and baseline; one column per metric."""
    notes = Notes()
    found = set(results.comparisons["metric"])
    candidates = compared_quantities([*results.findings.columns, *results.comparisons["metric"]])
    quantities = tuple(quantity for quantity in candidates if quantity.column in found)
    # Comparisons of the base release are left out: the other releases' lines have them the other way round.
    compared = results.comparisons[results.comparisons["release"] != base_release(results)]
    by_pair: dict[tuple[str, str], list[TableRow]] = {}
    for row in compared.to_dict("records"):
        by_pair.setdefault((row["release"], row["baseline"]), []).append(row)
    groups = []
    for (release, baseline), rows in by_pair.items():
        accuracy = next((row for row in rows if row["metric"] == TEST_ACCURACY.column), None)
        extra = None if accuracy is None else _difference_cell(accuracy, TEST_ACCURACY, notes)
        groups.append(Group(str(release), str(baseline), extra, _difference_lines(results, rows, quantities, notes)))
    titles = [f"{quantity.title} (points)" if quantity.is_percent else quantity.title for quantity in quantities]
    return Table((*titles, "Victims"), tuple(groups), notes.listed())


def _difference_lines(
    results: Results, rows: Iterable[TableRow], quantities: Sequence[Quantity], notes: Notes
) -> tuple[Row, ...]:
    """One line for each attack and kind of references."""
    by_attack: dict[tuple[str, str], list[TableRow]] = {}
    for row in rows:
        if row["attack"]:
            by_attack.setdefault((row["attack"], row["references"]), []).append(row)
    lines = []
    for (attack, references), of_attack in by_attack.items():
        by_metric = {row["metric"]: row for row in of_attack}
        cells = [_difference_cell(by_metric.get(quantity.column), quantity, notes) for quantity in quantities]
        counts = [row["num_victims"] for row in of_attack if not math.isnan(row["num_victims"])]
        cells.append(Cell(count_text(counts[0])) if counts else Cell("", note=notes.number(NO_REASON)))
        lines.append(Row(str(attack), f"references: {references_named(results, str(references))}", tuple(cells)))
    return tuple(lines)


def _difference_cell(row: TableRow | None, quantity: Quantity, notes: Notes) -> Cell:
    if row is None or math.isnan(row["difference"]):
        return Cell("", note=notes.number("suppressed or missing in one of the two releases: see the findings"))
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
    """Lower bound from one run: the best of all victims, corrected for their number; with right guesses."""
    epsilon_gaussian: str
    """The same for mechanisms with a Gaussian trade-off curve; empty where it was not computed."""
    epsilon_dp_sgd: str
    """The same for DP-SGD, by the accountant's curve; empty for releases that were trained without it."""
    epsilon_many: str
    """Lower bound from many runs; empty where there is none."""
    num_canaries: int
    num_victims: int
    is_family: bool
    """Whether it is about several releases together."""


def canaries_table(results: Results) -> tuple[CanaryLine, ...]:
    """What attacks achieve on canaries: one line per release, references and attack."""
    lines = []
    for (release, references, attack), part in results.canaries.groupby(
        ["release", "references", "attack"], sort=False
    ):
        of_all = {row["figure"]: row for _, row in part[part["victim"].isin([MEAN, EVERY])].iterrows()}
        area = of_all.get(AREA)
        one, gaussian, dp_sgd, many = (
            f"{row['value']:.2f} ({row['correct']:.0f} of {row['guesses']:.0f} right)" if row is not None else ""
            for row in map(of_all.get, (ONE_RUN, GAUSSIAN, DP_SGD, MANY_RUNS))
        )
        auc = "" if area is None else f"{AUC.value(area['value'])} {AUC.interval(area['low'], area['high'])}"
        counts = int(part["num_canaries"].iloc[0]), int(part["num_victims"].max())
        which = str(release), references_named(results, str(references)), str(attack)
        is_family = bool(is_of_family(part).iloc[0])
        lines.append(CanaryLine(*which, auc, one, gaussian, dp_sgd, many, *counts, is_family))
    return tuple(lines)


def refusals(results: Results, victim: str = "") -> tuple[tuple[str, str], ...]:
    """Each reason for which a figure was refused, with the rows it was refused in (as a text).

    Args:
        results: of a run.
        victim: look at the rows of this kind of victim only, such as `MEAN`.
    """
    rows_of_victim = results.findings[results.findings["victim"] == victim] if victim else results.findings
    where: dict[str, list[str]] = {}
    for suppressed, attack in rows_of_victim[["suppressed", "attack"]].itertuples(index=False):
        for reason in dict.fromkeys(part.strip() for part in suppressed.split(";")):
            if reason:
                where.setdefault(reason, []).append(attack)
    return tuple(
        (reason, f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}: {', '.join(dict.fromkeys(rows))}")
        for reason, rows in where.items()
    )
