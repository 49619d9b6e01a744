"""A certificate in tables: the list with all figures, the candidates that were not chosen and why, and the rungs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pruneaudit.evaluation.certificate import Candidate, Certificate
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.search_path import SearchPath
from pruneaudit.report.conclusions.certificate import not_chosen
from pruneaudit.report.quantities import bytes_text
from pruneaudit.report.sentences.certificate import not_chosen_words, quantity_of, rung_words
from pruneaudit.report.tables.cells import Cell, Notes
from pruneaudit.report.words import attack_name
from pruneaudit.study.audit import MATCHED

NOT_TESTED = "it was not tested: a candidate before it in the list failed, or it is too large"
NO_SIZE = "its size was not recorded"
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class ListLine:
    """A candidate of the list."""

    name: str
    description: str
    outcome: str
    p_value: str
    """Empty if it was not tested."""
    cells: tuple[Cell, ...]
    """Sizes, then figures."""


@dataclass(frozen=True)
class ListTable:
    """The list in its order, on the models that confirm."""

    columns: tuple[str, ...]
    lines: tuple[ListLine, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PathLine:
    """A rung of the search."""

    words: str
    stopped: tuple[tuple[str, str], ...]
    """The candidates that left it, and why."""


def list_table(certificate: Certificate) -> ListTable:
    """The list in its order, with all figures and one-sided bounds."""
    notes, limits = Notes(), certificate.limits
    candidates = [one.candidate for one in certificate.judged]
    with_macs = limits.minimize == "macs" or limits.max_macs is not None
    keys = list(dict.fromkeys(_key(test) for candidate in candidates for test in candidate.tests))
    columns = ["Size", *(["Operations"] if with_macs else []), *(_heading(key) for key in keys)]
    lines = []
    for one in certificate.judged:
        by_key = {_key(test): test for test in one.candidate.tests}
        cells = [*_sizes(one.candidate, with_macs, notes), *(_figure(by_key, key, notes) for key in keys)]
        p_value = "" if one.p_value is None else f"{one.p_value:.2g}"
        lines.append(ListLine(one.candidate.name, one.candidate.description, one.outcome, p_value, tuple(cells)))
    return ListTable(tuple(columns), tuple(lines), notes.listed())


def others_table(certificate: Certificate) -> tuple[tuple[str, str, str], ...]:
    """All candidates but the chosen one: name, how it is made, and why it was not chosen."""
    limits = certificate.limits
    return tuple((one.name, one.description, not_chosen_words(one, limits)) for one in not_chosen(certificate))


def path_lines(path: SearchPath, certificate: Certificate) -> tuple[PathLine, ...]:
    """The rungs, each with those that left it."""
    reasons = {name: why for name, _, why in others_table(certificate)}
    return tuple(
        PathLine(rung_words(rung), tuple((one.name, reasons.get(one.name, one.why)) for one in rung.passed_over))
        for rung in path.rungs
    )


def _key(test: LimitTest) -> _Key:
    return test.figure, test.attack, test.references


def _heading(key: _Key) -> str:
    figure, attack, references = key
    kind = "" if references in ("", MATCHED) else f", references {references}"
    under = f", {attack_name(attack)}{kind}" if attack else ""
    return f"{quantity_of(figure).title}{under}"


def _sizes(candidate: Candidate, with_macs: bool, notes: Notes) -> list[Cell]:
    missing = Cell("", note=notes.number(NO_SIZE)) if candidate.bytes is None else None
    cells = [missing or Cell(bytes_text(candidate.bytes or 0.0))]
    if with_macs:
        macs = candidate.macs
        cells.append(Cell("", note=notes.number(NO_SIZE)) if macs is None else Cell(f"{macs:,.0f}"))
    return cells


def _figure(by_key: Mapping[_Key, LimitTest], key: _Key, notes: Notes) -> Cell:
    """A figure with its one-sided bound."""
    test = by_key.get(key)
    if test is None or test.value is None:
        return Cell("", note=notes.number(test.suppressed if test is not None and test.suppressed else NOT_TESTED))
    quantity = quantity_of(test.figure)
    side = "at most" if test.is_upper else "at least"
    return Cell(quantity.value(test.value), "" if test.bound is None else f"{side} {quantity.value(test.bound)}")
