"""The first screen of the page: three short sentences, three numbers, one line per release.

The release whose numbers stand there is chosen by a rule that knows no result: the sparsest of those that were pruned
or defended (the first of equals). A sentence claims a direction only where an interval excludes the other one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.report.answer import Answer, attack_name, baseline_words, direction, verdict, what_was_done
from pruneaudit.report.controls import distrusted
from pruneaudit.report.quantities import AUC, BALANCED_ACCURACY, TEST_ACCURACY, Quantity, headline_tpr
from pruneaudit.report.selection import (
    NEAR,
    base_release,
    baseline_of,
    difference,
    far_from_baselines,
    finding,
    primary_attack,
    release_names,
    release_row,
    undefended_twins,
)
from pruneaudit.report.stronger import Stronger, stronger_attack
from pruneaudit.report.tables import NOT_RECORDED, Cell, Notes, estimate, sparsity_cell
from pruneaudit.results import Results
from pruneaudit.study import DENSE

_FEW_NETWORKS = 10
_NO_ROW = "the declared attack has no figure of this release"
_NOT_EQUAL = "no undefended dense network of equal accuracy to hold it against"
_NOT_PAIRED = "no paired difference was computed"
READINGS = {-1: "leaks less", 0: "no difference shown", 1: "leaks more"}
"""What an interval of a difference lets one say."""


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
    """What it is held against, and how to read it."""


@dataclass(frozen=True)
class SummaryLine:
    """One release."""

    release: str
    made: str
    """What was done to it."""
    twin_of: tuple[str, ...]
    """The defended releases that it is the undefended twin of."""
    sparsity: Cell
    accuracy: Cell
    leakage: Cell
    change: Cell | None
    """Of the AUC, paired, against `against`; None for what all are held against."""
    change_reading: str
    against: str
    equal: Cell | None
    """Difference in AUC at equal accuracy; None where the release is part of that line."""
    equal_reading: str


@dataclass(frozen=True)
class Summary:
    """The first screen."""

    sentences: tuple[str, ...]
    """At most three."""
    warnings: tuple[str, ...]
    """One for each attack whose figures cannot be trusted."""
    numbers: tuple[BigNumber, BigNumber, BigNumber]
    attack: str
    lines: tuple[SummaryLine, ...]
    with_equal: bool
    """Some release was compared at equal accuracy."""
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    stronger: Stronger | None


def summary(results: Results, told: Answer) -> Summary:
    """The first screen of these results.

    Args:
        results: what the page is about.
        told: their answer, whose headline serves where there is no figure or no interval.
    """
    base, notes = base_release(results), Notes()
    lines = tuple(_line(results, release, base, notes) for release in release_names(results))
    return Summary(
        (_leaks(results, base, told), *counted_changes(results, base), *_certainty(results, base)),
        distrusted(results),
        _numbers(results, base),
        attack_name(primary_attack(results)),
        lines,
        any(line.equal is not None and line.equal.value for line in lines),
        notes.listed(),
        stronger_attack(results),
    )


def _leaks(results: Results, base: str, told: Answer) -> str:
    """Whether the networks that all are held against leak."""
    attack, networks = attack_name(primary_attack(results)), _networks(results, base)
    leak = "leaks" if networks.endswith("network") else "leak"
    return {
        "leaks": f"The {networks} {leak}: {attack} tells members from non-members better than guessing.",
        "leaks at low rates": f"The {networks} {leak} at low false-positive rates under {attack}, if not on average.",
        "reversed": f"On the {networks} {attack} ranks members below non-members: check how members and scores were "
        "joined.",
        "not shown": f"On the {networks} {attack} was not shown to do better than guessing; that is no proof that "
        "nothing leaks.",
    }.get(verdict(results, base), told.headline)


def _networks(results: Results, base: str) -> str:
    row = finding(results, base, primary_attack(results))
    alone = row is not None and row["num_victims"] == 1
    return ("dense " if base == DENSE else "") + ("network" if alone else "networks")


def counted_changes(results: Results, base: str) -> tuple[str, ...]:
    """What the pruned and the defended releases change, counted; empty where there are none."""
    changed = _changed(results, base)
    if not changed:
        return ()
    at_equal = has_frontier(results)
    rows = [_equal(results, name) if at_equal else _paired(results, name) for name in changed]
    readings = [_reading(row) for row in rows]
    less, more, same, other = (readings.count(said) for said in (READINGS[-1], READINGS[1], READINGS[0], ""))
    start, than = (
        ("At equal accuracy, ", "undefended dense networks") if at_equal else ("", "what they are held against")
    )
    if len(changed) == 1:
        said = _one_release(readings[0], than)
        return (f"{start or 'T'}{'the' if start else 'he'} one pruned or defended release {said}.",)
    counted = "all" if less == len(changed) else f"{less or 'none'} of"
    parts = [
        *([f"{more} {'leaks' if more == 1 else 'leak'} more"] if more else []),
        *([f"{same} {'was' if same == 1 else 'were'} not shown to differ"] if same else []),
        *([f"{other} could not be compared"] if other else []),
    ]
    leak = "leaks" if less <= 1 else "leak"
    whole = f"{start}{counted} {len(changed)} pruned or defended releases {leak} less than {than}"
    far = [name for name in far_from_baselines(results) if name in changed] if at_equal else []
    if far:
        lacked = f"{len(far)} of them had none" if len(far) < len(changed) else "none of them had one"
        parts.append(f"{lacked} of similar accuracy to be held against, so lost accuracy alone may explain it")
    return ("; ".join([whole[0].upper() + whole[1:], *([", ".join(parts)] if parts else [])]) + ".",)


def _one_release(reading: str, than: str) -> str:
    return {
        READINGS[-1]: f"leaks less than {than}",
        READINGS[0]: f"was not shown to differ from {than}",
        READINGS[1]: f"leaks more than {than}",
    }.get(reading, f"could not be compared with {than}")


def _certainty(results: Results, base: str) -> tuple[str, ...]:
    """How sure the figures are."""
    row = finding(results, base, primary_attack(results))
    if row is None or math.isnan(row["num_victims"]):
        return ()
    networks = int(row["num_victims"])
    if networks == 1:
        return ("How sure: one network, so the 95% intervals cover the choice of samples, not another training run.",)
    samples = f"{row['num_members'] + row['num_nonmembers']:,.0f} samples each"
    if networks < _FEW_NETWORKS:
        return (f"How sure: only {networks} networks, so the 95% intervals are conditional on this bank.",)
    return (f"How sure: 95% intervals, over {networks} networks and {samples}.",)


def _changed(results: Results, base: str) -> list[str]:
    """The releases that were pruned or defended, but for those that the others are held against."""
    baselines = set(results.frontier.loc[results.frontier["is_baseline"] == 1, "release"]) | {base}
    rows = results.releases
    return [
        str(row["release"])
        for _, row in rows.iterrows()
        if (row["pruner"] or row["defense"]) and row["release"] not in baselines
    ]


def featured_release(results: Results) -> str:
    """The release whose numbers the first screen shows; empty where there is only one."""
    base = base_release(results)
    others = [name for name in release_names(results) if name != base]

    def sparsity(release: str) -> float:
        row = release_row(results, release)
        return -1.0 if row is None or math.isnan(row["sparsity"]) else float(row["sparsity"])

    return max(_changed(results, base) or others, key=sparsity, default="")


def has_frontier(results: Results) -> bool:
    """Whether releases were compared in AUC at equal accuracy."""
    return bool((results.frontier["metric"] == AUC.column).any())


def _equal(results: Results, release: str) -> pd.Series | None:
    """Difference in AUC at equal accuracy, as a row with `difference`, `low` and `high`; None where there is none."""
    table = results.frontier
    rows = table[(table["release"] == release) & (table["metric"] == AUC.column)]
    if rows.empty or math.isnan(rows.iloc[0]["difference"]):
        return None
    row = rows.iloc[0]
    return row.rename({"difference_low": "low", "difference_high": "high"})


def _paired(results: Results, release: str) -> pd.Series | None:
    """The paired difference in AUC to what the release is held against."""
    row = difference(results, release, baseline_of(results, release), primary_attack(results), AUC.column)
    return None if row is None or math.isnan(row["difference"]) else row


def _is_open(row: pd.Series | None) -> bool:
    """The interval has no lower limit: in some resamples there is nothing to be held against."""
    return row is not None and math.isnan(row["low"]) and not math.isnan(row["high"])


def _interval(quantity: Quantity, row: pd.Series) -> str:
    if _is_open(row):
        return f"[open, {quantity.signed(row['high'])}]"
    return quantity.signed_interval(row["low"], row["high"])


def _numbers(results: Results, base: str) -> tuple[BigNumber, BigNumber, BigNumber]:
    release, attack = featured_release(results), primary_attack(results)
    row, rate = finding(results, base, attack), headline_tpr(results.findings.columns)
    networks = _networks(results, base)
    leakage = _measured(row, AUC, f"Leakage of the {networks}", f"AUC under {attack_name(attack)}; 0.5 is guessing")
    if not release:
        found = "Members found" if rate is None else rate.title
        told = "" if rate is None or rate.level is None else f"guessing finds {100 * rate.level:g}%"
        second = _measured(row, rate or AUC, found, told)
        return leakage, second, _measured(row, BALANCED_ACCURACY, BALANCED_ACCURACY.title, "guessing: 50%")
    return leakage, _change(results, release, base), _price(results, release, base)


def _measured(row: pd.Series | None, quantity: Quantity, title: str, note: str) -> BigNumber:
    if row is None or math.isnan(row[quantity.column]):
        reason = "no row in the findings" if row is None else str(row["refused"]) or "no reason was recorded"
        return BigNumber(title, "", "", "", reason)
    column = quantity.column
    limits = quantity.interval(row[f"{column}_low"], row[f"{column}_high"])
    return BigNumber(title, "", quantity.value(row[column]), limits, note)


def _change(results: Results, release: str, base: str) -> BigNumber:
    row = _equal(results, release)
    if row is not None and row["is_baseline"] != 1:
        title = "Change of AUC at equal accuracy"
        words = "against undefended dense networks at least as accurate"
        if release in far_from_baselines(results):
            words += f", none of them within {100 * NEAR:g} points of its accuracy"
        note = f"{words}; {_reading(row) or 'no interval'}"
        return BigNumber(title, release, AUC.signed(row["difference"]), _interval(AUC, row), note)
    row, title = _paired(results, release), "Change of AUC"
    if row is None:
        return BigNumber(title, release, "", "", _NOT_PAIRED)
    words = baseline_words(results, release, base, baseline_of(results, release))
    note = f"against {words}{'; not at equal accuracy' if has_frontier(results) else ''}"
    return BigNumber(title, release, AUC.signed(row["difference"]), _interval(AUC, row), note)


def _price(results: Results, release: str, base: str) -> BigNumber:
    """What the release costs in test accuracy."""
    title, baseline = "Change of test accuracy", baseline_of(results, release)
    row = difference(results, release, baseline, "", TEST_ACCURACY.column)
    if row is None or math.isnan(row["difference"]):
        return BigNumber(title, release, "", "", _NOT_PAIRED)
    note = f"percentage points, against {baseline_words(results, release, base, baseline)}"
    return BigNumber(title, release, TEST_ACCURACY.signed(row["difference"]), _interval(TEST_ACCURACY, row), note)


def _line(results: Results, release: str, base: str, notes: Notes) -> SummaryLine:
    made, found = release_row(results, release), finding(results, release, primary_attack(results))
    paired, equal = _paired(results, release), _equal(results, release)
    is_base, in_line = release == base, equal is not None and equal["is_baseline"] == 1
    shows_equal = has_frontier(results) and not is_base and not in_line
    return SummaryLine(
        release=release,
        made="" if is_base or made is None else what_was_done(results, release),
        twin_of=undefended_twins(results).get(release, ()),
        sparsity=_missing(notes, NOT_RECORDED) if made is None else sparsity_cell(made, notes),
        accuracy=_missing(notes, NOT_RECORDED) if made is None else estimate(made, TEST_ACCURACY, notes),
        leakage=_missing(notes, _NO_ROW) if found is None else estimate(found, AUC, notes),
        change=None if is_base else _difference(paired, notes, _NOT_PAIRED),
        change_reading="" if is_base else _reading(paired),
        against="" if is_base else baseline_of(results, release),
        equal=_difference(equal, notes, _NOT_EQUAL) if shows_equal else None,
        equal_reading=_reading(equal) if shows_equal else "",
    )


def _missing(notes: Notes, reason: str) -> Cell:
    return Cell("", note=notes.number(reason))


def _difference(row: pd.Series | None, notes: Notes, reason: str) -> Cell:
    """A difference in AUC; the reason where there is none."""
    if row is None:
        return _missing(notes, reason)
    return Cell(AUC.signed(row["difference"]), _interval(AUC, row), stands_out=direction(row) != 0)


def _reading(row: pd.Series | None) -> str:
    """What the interval of a difference lets one say; empty without one."""
    if row is None or math.isnan(row["high"]) or (math.isnan(row["low"]) and not row["high"] < 0):
        return ""
    return READINGS[direction(row)]
