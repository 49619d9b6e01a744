"""Decides what is shown about an attacker with several releases of the same models: facts, without a sentence.

A marginal leakage is suppressed if the joint attack is shown to be too weak for it. So no conclusion here says that a
further release protects, because an attacker can ignore it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.families import ATTACK, MARGIN
from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.changes import direction
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import base_release, once

JOINT = ATTACK
"""The label of the joint attack; all figures here are from it."""
FAMILIES = "families"
"""The key in `about` of how `pruneaudit families` was called: it has `released`."""


@dataclass(frozen=True)
class Figure:
    """A number with its 95% interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """Of a difference: -1 or 1 where the interval lies on one side of 0, else 0."""
        return direction(self.low, self.high)


@dataclass(frozen=True)
class SetOfReleases:
    """What the joint attack finds in one set of releases, in AUC."""

    releases: tuple[str, ...]
    auc: Figure
    best_part: str
    """The release of the set that leaks most alone."""
    gain: Figure
    """The paired difference to that one."""

    @property
    def is_weak(self) -> bool:
        """Whether the joint attack is shown to lose by more than the margin of the consistency test may hide."""
        return self.gain.high < 0 and self.gain.low <= -MARGIN


@dataclass(frozen=True)
class Marginal:
    """What one release adds to a set, in AUC."""

    given: tuple[str, ...]
    added: str
    change: Figure
    step: int
    """Its place in the greedy order, from 1; 0: it is not on it."""
    repeats: str
    """The given release that it repeats with another seed; empty for others."""
    post_processing_of: str
    """The given release that it was made from without data; empty for others."""

    @property
    def is_shown(self) -> bool:
        """Whether there is a figure: else the joint attack is too weak here."""
        return not math.isnan(self.change.value)


@dataclass(frozen=True)
class Rival:
    """Another attack on all releases of a family, in AUC."""

    attack: str
    auc: Figure
    difference: Figure
    """The paired difference to the joint attack."""


@dataclass(frozen=True)
class FamilyLeakage:
    """What one family gives away."""

    name: str
    """As in the tables."""
    releases: tuple[str, ...]
    references: str
    sets: tuple[SetOfReleases, ...]
    """Of the joint attack, the smallest first."""
    greedy: tuple[Marginal, ...]
    """The order in which each release adds the most; the first is given nothing."""
    released: tuple[str, ...]
    """The releases that are public already, for `now`: as requested, else the base release, else the first of
    `greedy`."""
    now: tuple[Marginal, ...]
    """What each other release would add to `released`."""
    noise: tuple[Marginal, ...]
    """Repeats with another seed, each given the release that it repeats, with as few others as were measured."""
    post_processed: tuple[Marginal, ...]
    """Releases that were made from another one without data, likewise."""
    rivals: tuple[Rival, ...]

    @property
    def whole(self) -> SetOfReleases | None:
        """All releases together; None where there is no figure."""
        return next((one for one in self.sets if len(one.releases) == len(self.releases)), None)

    @property
    def best_alone(self) -> SetOfReleases | None:
        """The release that leaks most alone."""
        alone = [one for one in self.sets if len(one.releases) == 1]
        return max(alone, key=lambda one: one.auc.value, default=None)


@once
def families_of(results: Results) -> tuple[FamilyLeakage, ...]:
    """Each family, under each kind of references."""
    keys = results.families[["family", "references"]].drop_duplicates()
    asked = (results.about.get(FAMILIES) or {}).get("released") or ()
    return tuple(
        _family(results, str(family), str(references), tuple(map(str, asked)))
        for family, references in keys.itertuples(index=False)
    )


@once
def told_families(results: Results) -> tuple[FamilyLeakage, ...]:
    """Those with a figure; none if the joint attack failed the run's own sanity checks."""
    if JOINT in failures(results.about):
        return ()
    return tuple(family for family in families_of(results) if family.sets)


def names_in(cell: str) -> tuple[str, ...]:
    """The releases of a set, from a cell of the tables."""
    return tuple(name for name in cell.split(RELEASE_SEPARATOR) if name)


def rows_of(table: pd.DataFrame, family: str, references: str) -> pd.DataFrame:
    """The rows of one family in the tables `families` or `marginal_leakage`."""
    return table[(table["family"] == family) & (table["references"] == references)]


def _family(results: Results, name: str, references: str, asked: tuple[str, ...]) -> FamilyLeakage:
    rows = _in_auc(rows_of(results.families, name, references))
    joint = rows[(rows["attack"] == JOINT) & rows["value"].notna()]
    sets = [
        SetOfReleases(names_in(row["releases"]), _figure(row, "value"), str(row["best_part"]), _change(row))
        for row in joint.to_dict("records")
    ]
    marginals = list(_marginals(_in_auc(rows_of(results.marginal_leakage, name, references))))
    greedy = sorted((one for one in marginals if one.step), key=lambda one: one.step)
    releases = names_in(name)
    released = _released(results, releases, asked, greedy)
    return FamilyLeakage(
        name,
        releases,
        references,
        tuple(sorted(sets, key=lambda one: len(one.releases))),
        tuple(greedy),
        released,
        tuple(one for one in marginals if released and set(one.given) == set(released)),
        tuple(_smallest(marginals, "repeats")),
        tuple(_smallest(marginals, "post_processing_of")),
        tuple(
            Rival(str(row["attack"]), _figure(row, "value"), _change(row))
            for row in rows[(rows["attack"] != JOINT) & rows["value"].notna()].to_dict("records")
        ),
    )


def _in_auc(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["metric"] == AUC.column]


def _released(
    results: Results, releases: Sequence[str], asked: Sequence[str], greedy: Sequence[Marginal]
) -> tuple[str, ...]:
    """The releases that are taken to be public now."""
    if set(asked) & set(releases):
        return tuple(name for name in releases if name in asked)
    base = base_release(results)
    if base in releases:
        return (base,)
    return (greedy[0].added,) if greedy else ()


def _marginals(rows: pd.DataFrame) -> Iterator[Marginal]:
    for row in rows.to_dict("records"):
        step = 0 if math.isnan(row["step"]) else int(row["step"])
        change = Figure(*(float(row[column]) for column in ("difference", "low", "high")))
        yield Marginal(
            names_in(row["given"]), str(row["added"]), change, step, str(row["repeats"]), str(row["post_processing_of"])
        )


def _smallest(marginals: Sequence[Marginal], label: str) -> Iterator[Marginal]:
    """For each pair of releases with the label, the marginal with the fewest other releases."""
    smallest: dict[frozenset[str], Marginal] = {}
    for one in sorted(marginals, key=lambda one: len(one.given)):
        if other := getattr(one, label):
            smallest.setdefault(frozenset((one.added, other)), one)
    yield from smallest.values()


def _figure(row: Mapping[Any, Any], column: str) -> Figure:
    return Figure(float(row[column]), float(row["low"]), float(row["high"]))


def _change(row: Mapping[Any, Any]) -> Figure:
    return Figure(*(float(row[column]) for column in ("difference", "difference_low", "difference_high")))
