"""The first screen of the page: three short sentences, three numbers, one line per release.

The release whose numbers stand there is chosen by a rule that knows no result: the sparsest of those that were
compressed or defended; where none is pruned, that of fewest bits per weight (the first of equals). A sentence claims a
direction only where an interval excludes the other one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.compressed import most_compressed, shows_sizes
from pruneaudit.report.conclusions.changes import (
    Reading,
    at_equal_accuracy,
    changed_releases,
    concluded,
    direction,
    has_frontier,
)
from pruneaudit.report.conclusions.leakage import networks_of
from pruneaudit.report.conclusions.stronger import Stronger, stronger_anywhere
from pruneaudit.report.quantities import AUC, BALANCED_ACCURACY, TEST_ACCURACY, Quantity, headline_tpr
from pruneaudit.report.selection import (
    NEAR,
    base_release,
    baseline_of,
    difference,
    far_from_baselines,
    finding,
    primary_attack,
    reference_free_of,
    release_names,
    release_row,
    undefended_counterparts,
)
from pruneaudit.report.sentences.changes import baseline_words, what_was_done
from pruneaudit.report.sentences.counts import READINGS, counted_changes
from pruneaudit.report.sentences.leakage import short_headline
from pruneaudit.report.sentences.sanity_checks import distrusted, unlearned
from pruneaudit.report.tables.cells import NOT_RECORDED, Cell, Notes, estimate, size_cell, sparsity_cell
from pruneaudit.report.words import attack_name

_NO_ROW = "the primary attack has no figure of this release"
_NOT_EQUAL = "no undefended dense network of equal accuracy to compare it with"
_NOT_PAIRED = "no paired difference was computed"


@dataclass(frozen=True)
class BigNumber:
    """One of the three numbers."""

    title: str
    release: str
    """Which release it is of; empty where the title says so."""
    value: str
    """Empty where there is none; `note` then says why."""
    interval: str
    note: str
    """What it is compared with, and how to read it."""


@dataclass(frozen=True)
class SummaryLine:
    """One release."""

    release: str
    made: str
    """What was done to it."""
    counterpart_of: tuple[str, ...]
    """The defended releases that it is the undefended counterpart of."""
    sparsity: Cell
    size: Cell | None
    """None where no release is smaller than float32 weights."""
    accuracy: Cell
    leakage: Cell
    change: Cell | None
    """Of the AUC, paired, against `against`; None for what all are compared with."""
    reading: Reading | None
    """What all attacks let one say of the change; None for what all are compared with."""
    against: str
    equal: Cell | None
    """Difference in AUC at equal accuracy, under the primary attack; None where the release is a baseline itself."""
    equal_reading: Reading | None

    @property
    def change_words(self) -> str:
        """The reading with the word that goes before the baseline: `leaks less than`."""
        return " ".join(filter(None, READINGS[self.reading])) if self.reading else ""

    @property
    def equal_words(self) -> str:
        """The reading at equal accuracy: `leaks less`."""
        return READINGS[self.equal_reading][0] if self.equal_reading else ""


@dataclass(frozen=True)
class Summary:
    """The first screen."""

    sentences: tuple[str, ...]
    """At most three, after one that says so where networks did not learn."""
    warnings: tuple[str, ...]
    """One for each attack whose figures cannot be trusted."""
    numbers: tuple[BigNumber, BigNumber, BigNumber]
    attack: str
    lines: tuple[SummaryLine, ...]
    with_equal: bool
    """Some release was compared at equal accuracy."""
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    stronger: tuple[Stronger, ...]
    """On each release where another attack finds clearly more, the one that does so most; largest first."""


def summary(results: Results) -> Summary:
    """The first screen of these results."""
    base, notes = base_release(results), Notes()
    lines = tuple(_line(results, release, base, notes) for release in release_names(results))
    return Summary(
        (
            *unlearned(results),
            short_headline(results, base),
            *counted_changes(results, base),
            *_certainty(results, base),
        ),
        distrusted(results),
        _numbers(results, base),
        attack_name(primary_attack(results)),
        lines,
        any(line.equal is not None and line.equal.value for line in lines),
        notes.listed(),
        stronger_anywhere(results),
    )


def _certainty(results: Results, base: str) -> tuple[str, ...]:
    """How sure the figures are."""
    row = finding(results, base, primary_attack(results))
    if row is None or math.isnan(row["num_victims"]):
        return ()
    networks = int(row["num_victims"])
    alone = reference_free_of(results)
    if alone is not None:
        return (f"How sure: {alone.fact[0].lower()}{alone.fact[1:]} Attacks without references are the weakest.",)
    if networks == 1:
        return ("How sure: one network, so the 95% intervals cover the choice of samples, not another training run.",)
    samples = f"{row['num_members'] + row['num_nonmembers']:,.0f} samples each"
    if networks < FEW_MODELS:
        return (f"How sure: only {networks} networks, so the 95% intervals are conditional on this bank.",)
    return (f"How sure: 95% intervals, over {networks} networks and {samples}.",)


def featured_release(results: Results) -> str:
    """The release whose numbers the first screen shows; empty where there is only one."""
    base = base_release(results)
    others = [name for name in release_names(results) if name != base]

    return most_compressed(results, changed_releases(results, base) or others)


def _equal(results: Results, release: str) -> pd.Series | None:
    """Difference in AUC at equal accuracy, as a row with `difference`, `low` and `high`; None where there is none."""
    table = results.frontier
    rows = table[(table["release"] == release) & (table["metric"] == AUC.column)]
    if rows.empty or math.isnan(rows.iloc[0]["difference"]):
        return None
    row = rows.iloc[0]
    return row.rename({"difference_low": "low", "difference_high": "high"})


def _paired(results: Results, release: str) -> pd.Series | None:
    """The paired difference in AUC to what the release is compared with."""
    row = difference(results, release, baseline_of(results, release), primary_attack(results), AUC.column)
    return None if row is None or math.isnan(row["difference"]) else row


def _numbers(results: Results, base: str) -> tuple[BigNumber, BigNumber, BigNumber]:
    release, attack = featured_release(results), primary_attack(results)
    row, rate = finding(results, base, attack), headline_tpr(results.findings.columns)
    networks = networks_of(results, base)
    leakage = _measured(row, AUC, f"Leakage of the {networks}", f"AUC under {attack_name(attack)}; 0.5 is guessing")
    if not release:
        found = "Members found" if rate is None else rate.title
        told = "" if rate is None or rate.level is None else f"guessing finds {100 * rate.level:g}%"
        second = _measured(row, rate or AUC, found, told)
        return leakage, second, _measured(row, BALANCED_ACCURACY, BALANCED_ACCURACY.title, "guessing: 50%")
    return leakage, _change(results, release, base), _price(results, release, base)


def _signed(quantity: Quantity, row: pd.Series) -> tuple[str, str]:
    """A difference and its interval."""
    return quantity.signed(row["difference"]), quantity.signed_interval(row["low"], row["high"])


def _measured(row: pd.Series | None, quantity: Quantity, title: str, note: str) -> BigNumber:
    if row is None or math.isnan(row[quantity.column]):
        reason = "no row in the findings" if row is None else str(row["suppressed"]) or "no reason was recorded"
        return BigNumber(title, "", "", "", reason)
    column = quantity.column
    limits = quantity.interval(row[f"{column}_low"], row[f"{column}_high"])
    return BigNumber(title, "", quantity.value(row[column]), limits, note)


def _change(results: Results, release: str, base: str) -> BigNumber:
    row = _equal(results, release)
    if row is not None and row["is_baseline"] != 1:
        title = "Change of AUC at equal accuracy"
        words = f"under {attack_name(primary_attack(results))}, against undefended dense networks at least as accurate"
        if release in far_from_baselines(results):
            words += f", none of them within {100 * NEAR:g} points of its accuracy"
        found = at_equal_accuracy(results, release)
        note = f"{words}; {(READINGS[found.reading][0] if found else '') or 'could not be compared'}"
        return BigNumber(title, release, *_signed(AUC, row), note)
    row, title = _paired(results, release), "Change of AUC"
    if row is None:
        return BigNumber(title, release, "", "", _NOT_PAIRED)
    words = baseline_words(results, release, base, baseline_of(results, release))
    reading = concluded(results, release, baseline_of(results, release)).reading
    said = "; attacks disagree" if reading == "disagree" else ""
    note = f"against {words}{'; not at equal accuracy' if has_frontier(results) else ''}{said}"
    return BigNumber(title, release, *_signed(AUC, row), note)


def _price(results: Results, release: str, base: str) -> BigNumber:
    """What the release costs in test accuracy."""
    title, baseline = "Change of test accuracy", baseline_of(results, release)
    row = difference(results, release, baseline, "", TEST_ACCURACY.column)
    if row is None or math.isnan(row["difference"]):
        return BigNumber(title, release, "", "", _NOT_PAIRED)
    note = f"percentage points, against {baseline_words(results, release, base, baseline)}"
    return BigNumber(title, release, *_signed(TEST_ACCURACY, row), note)


def _line(results: Results, release: str, base: str, notes: Notes) -> SummaryLine:
    made, found = release_row(results, release), finding(results, release, primary_attack(results))
    paired, equal = _paired(results, release), _equal(results, release)
    is_base, in_line = release == base, equal is not None and equal["is_baseline"] == 1
    shows_equal = has_frontier(results) and not is_base and not in_line
    at_equal = at_equal_accuracy(results, release)
    return SummaryLine(
        release=release,
        made="" if is_base or made is None else what_was_done(results, release),
        counterpart_of=undefended_counterparts(results).get(release, ()),
        sparsity=_missing(notes, NOT_RECORDED) if made is None else sparsity_cell(made, notes, with_bits=False),
        size=_size(results, made, notes),
        accuracy=_missing(notes, NOT_RECORDED) if made is None else estimate(made, TEST_ACCURACY, notes),
        leakage=_missing(notes, _NO_ROW) if found is None else estimate(found, AUC, notes),
        change=None if is_base else _difference(paired, notes, _NOT_PAIRED),
        reading=None if is_base else concluded(results, release, baseline_of(results, release)).reading,
        against="" if is_base else baseline_of(results, release),
        equal=_difference(equal, notes, _NOT_EQUAL) if shows_equal else None,
        equal_reading=at_equal.reading if shows_equal and at_equal else None,
    )


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
    return Cell(
        *_signed(AUC, row),
        stands_out=direction(row["low"], row["high"]) != 0,
    )
