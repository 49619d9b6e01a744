"""The table of the epsilons that DP-SGD guarantees for releases, together and alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pruneaudit.evaluation.canaries import ONE_RUN
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.results import Results
from pruneaudit.report.sentences.canaries import told_bounds
from pruneaudit.report.sentences.family_epsilon import (
    epsilon_records,
    epsilon_words,
    releases_of,
    spent_words,
    why_void,
)
from pruneaudit.report.tables.cells import Cell, Notes
from pruneaudit.report.words import listed

NOT_COVERED = "DP-SGD does not cover everything that this release learned from members, or its steps are unknown"


@dataclass(frozen=True)
class EpsilonLine:
    """A family together, or one release of it alone."""

    releases: str
    is_family: bool
    epsilon: Cell
    at_least: str
    """The lower bound by canaries; empty without one."""


@dataclass(frozen=True)
class EpsilonTable:
    """All families of a run with DP-SGD, each followed by its releases alone."""

    said: tuple[str, ...]
    """The sentence about each family."""
    lines: tuple[EpsilonLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""

    @property
    def has_bounds(self) -> bool:
        """Whether canaries bound any of them from below."""
        return any(line.at_least for line in self.lines)


def epsilon_table(results: Results) -> EpsilonTable | None:
    """The table of families with DP-SGD; None in runs without any."""
    notes = Notes()
    lines = tuple(_lines(results, notes))
    return EpsilonTable(epsilon_words(results), lines, notes.listed()) if lines else None


def _lines(results: Results, notes: Notes) -> Iterator[EpsilonLine]:
    at_least = _at_least(results)
    for record in epsilon_records(results):
        spent, releases = spent_words(record), releases_of(record)
        whole = Cell(spent) if spent else Cell("", note=notes.number(why_void(record)))
        yield EpsilonLine(listed(releases), True, whole, at_least.get(frozenset(releases), ""))
        own = dict(record.get("own") or {}) if len(releases) > 1 else {}
        for name, epsilon in own.items():
            missing = epsilon is None
            alone = Cell("", note=notes.number(NOT_COVERED)) if missing else Cell(f"epsilon {epsilon:.2f}")
            yield EpsilonLine(str(name), False, alone, at_least.get(frozenset([name]), ""))


def _at_least(results: Results) -> dict[frozenset[str], str]:
    """The bounds by canaries that hold for any training, by releases; of the first kind of references."""
    rows = told_bounds(results)
    found: dict[frozenset[str], str] = {}
    for row in rows[rows["figure"] == ONE_RUN].to_dict("records"):
        told = f"{row['value']:.2f} at delta {row['delta']:g}"
        found.setdefault(frozenset(str(row["release"]).split(RELEASE_SEPARATOR)), told)
    return found
