"""Decides what may be concluded about a difference, from the rows of all attacks: facts, without a sentence.

A statement such as "no difference is shown" must hold for every attack that was played, under every kind of references.
Attacks disagree if another attack shows a difference that the primary attack does not show, or shows one in the other
direction. Two kinds of attacks do not count: attacks that failed the run's own sanity checks, and attacks that give
only a lower bound on the leakage, because a difference of lower bounds shows nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    baseline_of,
    far_from_baselines,
    given_baseline,
    once,
    primary_attack,
    shown_references,
)

Reading = Literal["less", "more", "not shown", "disagree", "not compared"]
READINGS: dict[int, Reading] = {-1: "less", 0: "not shown", 1: "more"}
"""The reading of one interval, by its direction."""


@dataclass(frozen=True)
class Shown:
    """The paired difference in AUC under one attack."""

    attack: str
    references: str
    difference: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """-1 or 1 where the interval lies on one side of 0, else 0."""
        return direction(self.low, self.high)


@dataclass(frozen=True)
class Conclusion:
    """What all attacks together show of a release against its baseline."""

    primary: Shown | None
    """Under the primary attack and the references shown; None without an interval."""
    others: tuple[Shown, ...]
    """Under every other attack or kind of reference that has an interval, in the order of the study."""

    def of_others(self, *directions: int) -> tuple[Shown, ...]:
        """Those of the others that show one of these directions."""
        return tuple(shown for shown in self.others if shown.direction in directions)

    @property
    def reading(self) -> Reading:
        """The direction, if any; `disagree` where any other attack shows what the primary one does not.

        Attacks that show no difference do not contradict one that does: they may be too weak.
        """
        if self.primary is None:
            return "not compared"
        own = self.primary.direction
        return "disagree" if self.of_others(*({-1, 1} - {own})) else READINGS[own]


@once
def concluded(results: Results, release: str, baseline: str) -> Conclusion:
    """What all attacks show of a release against its baseline, in AUC."""
    table = results.comparisons
    rows = table[(table["release"] == release) & (table["baseline"] == baseline) & (table["metric"] == AUC.column)]
    order = {attack: place for place, attack in enumerate(attack_order(results))}
    silent = failures(results.about)
    first = (primary_attack(results), shown_references(results, release))
    found = [
        Shown(str(row["attack"]), str(row["references"]), row["difference"], row["low"], row["high"])
        for _, row in rows.iterrows()
        if row["attack"] and row["attack"] not in silent and not _lacks_interval(row)
    ]
    found.sort(key=lambda shown: (order.get(shown.attack, len(order)), shown.references != first[1]))
    primary = next((shown for shown in found if (shown.attack, shown.references) == first), None)
    return Conclusion(primary, tuple(shown for shown in found if shown is not primary))


WhyNot = Literal["no figure", "distrusted", "no baseline", "too accurate", "open"]
"""Why a release could not be compared at equal accuracy: it has no figure itself; its attack failed the run's own
sanity checks; no undefended dense release has a figure; none is as accurate; or, in too many resamples, none is as
accurate (then the interval has no lower limit)."""


@dataclass(frozen=True)
class AtEqualAccuracy:
    """What the primary attack shows of a release against undefended dense networks that are at least as accurate."""

    reading: Reading
    """Never `disagree`: other attacks are not compared at equal accuracy."""
    why_not: WhyNot | None
    """Where the reading is `not compared`."""


def at_equal_accuracy(results: Results, release: str) -> AtEqualAccuracy | None:
    """Returns what the frontier shows of a release's AUC; None without a row."""
    table = results.frontier[results.frontier["metric"] == AUC.column]
    rows = table[table["release"] == release]
    if rows.empty:
        return None
    row = rows.iloc[0]
    if row["attack"] in failures(results.about):
        return AtEqualAccuracy("not compared", "distrusted")
    reading = _read(row["difference"], row["difference_low"], row["difference_high"])
    if reading != "not compared":
        return AtEqualAccuracy(reading, None)
    if math.isnan(row["leakage"]):
        why: WhyNot = "no figure"
    elif table.loc[table["is_baseline"] == 1, "leakage"].isna().all():
        why = "no baseline"
    else:
        why = "too accurate" if math.isnan(row["difference"]) else "open"
    return AtEqualAccuracy("not compared", why)


def at_equal_size(results: Results, release: str) -> Reading:
    """Returns what the frontier shows of a release's AUC against others as small and as accurate; never `disagree`."""
    table = results.frontier[results.frontier["metric"] == AUC.column]
    rows = table[table["release"] == release]
    if rows.empty or rows.iloc[0]["attack"] in failures(results.about):
        return "not compared"
    return _read(*(rows.iloc[0][f"size_difference{end}"] for end in ("", "_low", "_high")))


def _read(value: float, low: float, high: float) -> Reading:
    """The reading of a difference to an envelope, whose interval may have no lower end."""
    is_open = math.isnan(low) and high >= 0
    return "not compared" if math.isnan(value) or math.isnan(high) or is_open else READINGS[direction(low, high)]


def direction(low: float, high: float) -> int:
    """Returns -1 or 1 where an interval lies on one side of 0, else 0; a NaN end excludes nothing on its side."""
    return 1 if low > 0 else -1 if high < 0 else 0


def _lacks_interval(row: pd.Series) -> bool:
    return bool(math.isnan(row["difference"]) or math.isnan(row["low"]) or math.isnan(row["high"]))


def readings_of_changed(results: Results, base: str) -> dict[str, Reading]:
    """What is shown of each compressed or defended release, in the order of the study.

    At equal accuracy where releases are read so, else from their baselines.
    """
    changed = changed_releases(results, base)
    if not is_read_at_equal_accuracy(results):
        return {name: concluded(results, name, baseline_of(results, name)).reading for name in changed}
    found = {name: at_equal_accuracy(results, name) for name in changed}
    return {name: item.reading if item else "not compared" for name, item in found.items()}


def changed_releases(results: Results, base: str) -> list[str]:
    """Returns the releases that were compressed or defended, without those that others are compared with."""
    baselines = set(results.frontier.loc[results.frontier["is_baseline"] == 1, "release"]) | {base}
    rows = results.releases
    return [
        str(row["release"])
        for _, row in rows.iterrows()
        if (row["compress"] or row["defense"] or given_baseline(results)) and row["release"] not in baselines
    ]


def far_changed(results: Results, base: str) -> tuple[str, ...]:
    """The compressed and defended releases without an undefended network of similar accuracy."""
    far = far_from_baselines(results)
    return tuple(name for name in changed_releases(results, base) if name in far)


@once
def none_is_similar(results: Results) -> bool:
    """Whether no release that was compared at equal accuracy has an undefended network of similar accuracy.

    Then no report claims anything at equal accuracy.
    """
    if primary_attack(results) in failures(results.about):
        return False
    changed, far = changed_releases(results, base_release(results)), far_from_baselines(results)
    rows = results.frontier
    compared = set(rows.loc[rows["difference"].notna(), "release"])
    return any(name in far for name in changed) and all(name in far for name in changed if name in compared)


def has_frontier(results: Results) -> bool:
    """Returns whether releases were compared in AUC at equal accuracy."""
    return bool((results.frontier["metric"] == AUC.column).any())


def is_read_at_equal_accuracy(results: Results) -> bool:
    """Whether summaries read releases at equal accuracy, rather than from their baselines.

    Of predictions there is one baseline. Many a release is more accurate, and would have no reading.
    """
    return has_frontier(results) and not given_baseline(results) and not none_is_similar(results)
