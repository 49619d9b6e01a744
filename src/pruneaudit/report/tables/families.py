"""Tables of families of releases: the leakage of every set of releases, and the addition by one more release."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.family_sets import LATTICE_UP_TO
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.families import JOINT, FamilyLeakage, families_of, names_in, rows_of
from pruneaudit.report.quantities import AUC, Quantity, headline_tpr
from pruneaudit.report.selection import primary_references
from pruneaudit.report.sentences.families import CHANGE_OF_AUC, change_interval, family_title, family_words, set_words
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

ALONE = "a single release: no part of it is compared with it"
_OWN_NUMBERS = " (measured "
"""The place where a reason begins to list numbers of its figure; the page leaves them out, the CSV file has them."""
THE_JOINT_ATTACK = "the joint attack"


@dataclass(frozen=True)
class SetLine:
    """One attack on one set of releases."""

    releases: str
    num_releases: int
    attack: str
    against: str
    """What its difference is from: a release of the set, or the joint attack; empty for a single release."""
    cells: tuple[Cell, ...]
    """For each quantity its value, and the paired difference."""


@dataclass(frozen=True)
class MarginalLine:
    """What one release adds to a set."""

    given: str
    num_given: int
    added: str
    label: str
    """That it repeats a given release, or is post-processing of one; empty for others."""
    step: str
    """Its place in the greedy order; empty if it is not on it."""
    is_now: bool
    """Whether the set is what is public now."""
    cells: tuple[Cell, ...]
    """The change of each quantity."""


@dataclass(frozen=True)
class FamilyTables:
    """The two tables of one family."""

    title: str
    said: tuple[str, ...]
    """The sentences about it."""
    released: str
    """The releases that count as public already; empty if unknown."""
    quantities: tuple[Quantity, ...]
    sets: tuple[SetLine, ...]
    marginals: tuple[MarginalLine, ...]
    """First the additions to the releases that are public now, then the greedy order. For a small family then all
    others; for a large one, those that add the last release."""
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""


def family_tables(results: Results) -> tuple[FamilyTables, ...]:
    """The tables of each family: AUC, and the TPR that summaries show."""
    usual, words = primary_references(results), family_words(results)
    return tuple(
        _tables(results, family, family_title(family, usual), words.get(family, ())) for family in families_of(results)
    )


def _tables(results: Results, family: FamilyLeakage, title: str, said: tuple[str, ...]) -> FamilyTables:
    sets, marginals = (
        rows_of(table, family.name, family.references) for table in (results.families, results.marginal_leakage)
    )
    rate, notes = headline_tpr(dict.fromkeys(sets["metric"])), Notes()
    quantities = (AUC, *([rate] if rate is not None else []))
    set_lines = sorted(_set_lines(sets, family, quantities, notes), key=lambda line: line.num_releases)
    added = sorted(_marginal_lines(marginals, family, quantities, notes), key=_place)
    is_small, num_last = len(family.releases) <= LATTICE_UP_TO, len(family.releases) - 1
    added = [line for line in added if is_small or line.is_now or line.step or line.num_given == num_last]
    released = set_words(family.released, family.releases) if family.now else ""
    return FamilyTables(title, said, released, quantities, tuple(set_lines), tuple(added), notes.listed())


def _set_lines(
    table: pd.DataFrame, family: FamilyLeakage, quantities: Sequence[Quantity], notes: Notes
) -> Iterator[SetLine]:
    for key, rows in table.groupby(["releases", "attack"], sort=False):
        cell, attack = map(str, key)
        names, by_metric = names_in(cell), {row["metric"]: row for row in rows.to_dict("records")}
        is_alone, is_joint = len(names) == 1, attack == JOINT
        first = by_metric[AUC.column]
        cells = [found for one in quantities for found in _set_cells(by_metric.get(one.column), one, notes)]
        against = THE_JOINT_ATTACK if not is_joint else "" if is_alone else str(first["best_part"])
        yield SetLine(set_words(names, family.releases), len(names), attack, against, tuple(cells))


def _set_cells(row: Mapping[Any, Any] | None, quantity: Quantity, notes: Notes) -> tuple[Cell, Cell]:
    if row is None or math.isnan(row["value"]):
        missing = Cell("", note=notes.number((row is not None and row["suppressed"]) or NO_REASON))
        return missing, missing
    value = Cell(quantity.value(row["value"]), quantity.interval(row["low"], row["high"]))
    if row["attack"] == JOINT and row["num_releases"] == 1:
        return value, Cell("", note=notes.number(ALONE))
    limits = row["difference_low"], row["difference_high"]
    return value, _change(row["difference"], *limits, quantity, str(row["suppressed"]), notes)


def _marginal_lines(
    table: pd.DataFrame, family: FamilyLeakage, quantities: Sequence[Quantity], notes: Notes
) -> Iterator[MarginalLine]:
    for key, rows in table.groupby(["given", "added"], sort=False):
        given, added = names_in(str(key[0])), str(key[1])
        by_metric = {row["metric"]: row for row in rows.to_dict("records")}
        first = by_metric[AUC.column]
        labels = (("repeats", "repeats {} with another seed"), ("post_processing_of", "post-processing of {}"))
        said = ", ".join(words.format(first[column]) for column, words in labels if first[column])
        step = "" if math.isnan(first["step"]) else str(int(first["step"]))
        cells = []
        for one in quantities:
            row = by_metric.get(one.column)
            if row is None:
                cells.append(Cell("", note=notes.number(NO_REASON)))
            else:
                limits = row["difference"], row["low"], row["high"]
                cells.append(_change(*limits, one, str(row["suppressed"]), notes))
        is_now = bool(family.released) and set(given) == set(family.released)
        yield MarginalLine(set_words(given, family.releases), len(given), added, said, step, is_now, tuple(cells))


def _change(value: float, low: float, high: float, quantity: Quantity, why: str, notes: Notes) -> Cell:
    """A paired difference. AUC has one more place than elsewhere; only an increase stands out: none protects."""
    if math.isnan(value):
        reason = why.partition(_OWN_NUMBERS)[0]  # one reason for all such figures
        return Cell("", note=notes.number(reason or NO_REASON))
    shown = CHANGE_OF_AUC if quantity == AUC else quantity
    return Cell(shown.signed(value), change_interval(shown, low, high), stands_out=bool(low > 0))


def _place(line: MarginalLine) -> tuple[bool, int]:
    return not line.is_now, int(line.step) if line.step else 1000
