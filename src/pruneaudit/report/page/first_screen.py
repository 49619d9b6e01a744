"""The first screen of the page: the answer, three numbers in plain terms, and one line per release."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import shows_sizes
from pruneaudit.report.conclusions.changes import (
    Reading,
    at_equal_accuracy,
    concluded,
    direction,
    has_frontier,
    none_is_similar,
)
from pruneaudit.report.conclusions.leakage import PER, members_named, verdict
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import (
    base_release,
    baseline_of,
    difference,
    finding,
    headline_rate,
    primary_attack,
    release_names,
    release_row,
    target_file,
    undefended_counterparts,
)
from pruneaudit.report.sentences.answer import Answer, answer
from pruneaudit.report.sentences.changes import what_was_done
from pruneaudit.report.sentences.counts import READINGS, change_groups, comparison_words, far_words
from pruneaudit.report.sentences.leakage import members_interval, reason_of
from pruneaudit.report.sentences.networks import YOUR_MODEL
from pruneaudit.report.tables.cells import NOT_RECORDED, Cell, Notes, estimate, reason_for, size_cell
from pruneaudit.report.words import attack_name

_NO_ROW = "the primary attack has no figure for this release"
_NOT_EQUAL = "no undefended dense network to compare it with at this accuracy"
_NOT_PAIRED = "no paired difference was computed"


@dataclass(frozen=True)
class BigNumber:
    """One of the numbers below the verdict."""

    title: str
    value: str
    """Empty without a figure; `note` then says why."""
    interval: str
    note: str
    """How to read it."""


@dataclass(frozen=True)
class ReleaseLine:
    """One release."""

    release: str
    made: str
    """How it was made, in words."""
    counterpart_of: tuple[str, ...]
    """The defended releases that it is the undefended counterpart of."""
    accuracy: Cell
    size: Cell | None
    """None if no release is smaller than with float32 weights."""
    members: Cell | None
    """Members recognised, of 1,000; None where no release has that figure."""
    leakage: Cell
    """AUC."""
    change: Cell | None
    """Paired change of the AUC from `against`; None for the base release."""
    reading: Reading | None
    """The reading of the change by all attacks together."""
    against: str
    equal: Cell | None
    """Difference in AUC at equal accuracy, under the primary attack; None for baselines."""
    equal_reading: Reading | None

    @property
    def change_words(self) -> str:
        """The reading with the word before the baseline: `leaks less than`."""
        return " ".join(filter(None, READINGS[self.reading])) if self.reading else ""

    @property
    def equal_words(self) -> str:
        """The reading at equal accuracy: `leaks less`."""
        return READINGS[self.equal_reading][0] if self.equal_reading else ""


@dataclass(frozen=True)
class GroupLine:
    """Releases of which the same is shown, each with its accuracy and size."""

    words: str
    releases: tuple[tuple[str, str], ...]
    why: str
    """Why they could not be compared; else empty."""


@dataclass(frozen=True)
class FirstScreen:
    """The first screen."""

    answer: Answer
    numbers: tuple[BigNumber, ...]
    """Members recognised, others taken for members, AUC; empty where the primary attack has no figure to show."""
    compared: str
    """The words for the networks that the groups are compared with."""
    groups: tuple[GroupLine, ...]
    far: tuple[str, tuple[str, ...]]
    """A sentence and the names that end it, if any; both empty where it applies to no release."""
    attack: str
    level: str
    """The false-positive rate of the members named: `1%`."""
    lines: tuple[ReleaseLine, ...]
    with_sizes: bool
    with_members: bool
    with_equal: bool
    """Some release was compared at equal accuracy."""
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""


def first_screen(results: Results) -> FirstScreen:
    """The first screen of these results."""
    notes, rate = Notes(), headline_rate(results)
    base, releases = base_release(results), release_names(results)
    with_members = any(members_named(results, release) is not None for release in releases)
    lines = tuple(_line(results, release, with_members, notes) for release in releases)
    return FirstScreen(
        answer(results),
        _numbers(results),
        comparison_words(results),
        _groups(results, {line.release: line for line in lines}),
        far_words(results, base),
        attack_name(primary_attack(results)),
        "" if rate is None else f"{100 * (rate.level or 0.0):g}%",
        lines,
        shows_sizes(results),
        with_members,
        any(line.equal is not None and line.equal.value for line in lines),
        notes.listed(),
    )


def _groups(results: Results, lines: Mapping[str, ReleaseLine]) -> tuple[GroupLine, ...]:
    return tuple(
        GroupLine(group.words, tuple((name, _facts(lines[name])) for name in group.releases), group.why)
        for group in change_groups(results, base_release(results))
    )


def _facts(line: ReleaseLine) -> str:
    """`76.0% accuracy, 8.1 kB`: whatever of it is known."""
    accuracy = [f"{line.accuracy.value} accuracy"] if line.accuracy.value else []
    return ", ".join([*accuracy, *([line.size.value] if line.size and line.size.value else [])])


def _numbers(results: Results) -> tuple[BigNumber, ...]:
    """The numbers beside the verdict: of the base release, under the primary attack."""
    base = base_release(results)
    row, named = finding(results, base, primary_attack(results)), members_named(results, base)
    if row is None or verdict(results, base) in ("no attack", "distrusted"):
        return ()
    rate, attack = headline_rate(results), attack_name(primary_attack(results))
    numbers = []
    title = f"Members recognised, of {PER:,}"
    if named is not None:
        wrongly, others = f"{named.wrongly:g}", f"Others taken for members, of {PER:,}"
        fixed = f"fixed at {100 * named.wrongly / PER:g}%, with an ideal threshold"
        numbers = [
            BigNumber(title, f"{named.rightly:.0f}", members_interval(named), f"by {attack}; guessing: {wrongly}"),
            BigNumber(others, wrongly, "", fixed),
        ]
    elif rate is not None:
        numbers = [BigNumber(title, "", "", reason_for(row, rate))]
    if math.isnan(row["auc"]):
        return (*numbers, BigNumber("AUC", "", "", reason_of(row)))
    limits = AUC.interval(row["auc_low"], row["auc_high"])
    meaning = f"how often a member scores higher than a non-member under {attack}; guessing: 0.5"
    return (*numbers, BigNumber("AUC", AUC.value(row["auc"]), limits, meaning))


def _line(results: Results, release: str, with_members: bool, notes: Notes) -> ReleaseLine:
    made, found = release_row(results, release), finding(results, release, primary_attack(results))
    paired, equal, baseline = _paired(results, release), _equal(results, release), baseline_of(results, release)
    is_base, is_baseline = release == base_release(results), equal is not None and equal["is_baseline"] == 1
    shows_equal = has_frontier(results) and not (none_is_similar(results) or is_base or is_baseline)
    at_equal = at_equal_accuracy(results, release)
    return ReleaseLine(
        release=release,
        made="" if made is None else _made(results, release),
        counterpart_of=undefended_counterparts(results).get(release, ()),
        accuracy=_missing(notes, NOT_RECORDED) if made is None else estimate(made, TEST_ACCURACY, notes),
        size=_size(results, made, notes),
        members=_members(results, release, notes) if with_members else None,
        leakage=_missing(notes, _NO_ROW) if found is None else estimate(found, AUC, notes),
        change=None if is_base else _difference(paired, notes, _NOT_PAIRED),
        reading=None if is_base else concluded(results, release, baseline).reading,
        against="" if is_base else baseline,
        equal=_difference(equal, notes, _NOT_EQUAL) if shows_equal else None,
        equal_reading=at_equal.reading if shows_equal and at_equal else None,
    )


def _made(results: Results, release: str) -> str:
    """What was done to a release. Nothing was done to the base: of a target it is the user's model."""
    if release != base_release(results):
        return what_was_done(results, release)
    file = target_file(results, release, with_dense=True)
    return f"{YOUR_MODEL} {file}" if file else ""


def _members(results: Results, release: str, notes: Notes) -> Cell:
    named, row = members_named(results, release), finding(results, release, primary_attack(results))
    if named is not None:
        return Cell(f"{named.rightly:.0f}", members_interval(named))
    rate = headline_rate(results)
    return _missing(notes, _NO_ROW if row is None or rate is None else reason_for(row, rate))


def _equal(results: Results, release: str) -> pd.Series | None:
    """Difference in AUC at equal accuracy, as a row with `difference`, `low` and `high`; None where there is none."""
    table = results.frontier
    rows = table[(table["release"] == release) & (table["metric"] == AUC.column)]
    if rows.empty or math.isnan(rows.iloc[0]["difference"]):
        return None
    return rows.iloc[0].rename({"difference_low": "low", "difference_high": "high"})


def _paired(results: Results, release: str) -> pd.Series | None:
    """The paired difference in AUC from the release's baseline."""
    row = difference(results, release, baseline_of(results, release), primary_attack(results), AUC.column)
    return None if row is None or math.isnan(row["difference"]) else row


def _size(results: Results, made: pd.Series | None, notes: Notes) -> Cell | None:
    if not shows_sizes(results):
        return None
    return _missing(notes, NOT_RECORDED) if made is None else size_cell(made, notes)


def _missing(notes: Notes, reason: str) -> Cell:
    return Cell("", note=notes.number(reason))


def _difference(row: pd.Series | None, notes: Notes, reason: str) -> Cell:
    """A difference in AUC; the reason where there is none."""
    if row is None:
        return _missing(notes, reason)
    limits = AUC.signed_interval(row["low"], row["high"])
    return Cell(AUC.signed(row["difference"]), limits, stands_out=direction(row["low"], row["high"]) != 0)
