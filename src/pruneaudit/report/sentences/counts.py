"""How many releases leak less, how many leak more, and for how many neither is shown."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import changed_words
from pruneaudit.report.conclusions.changes import (
    Reading,
    WhyNot,
    at_equal_accuracy,
    changed_releases,
    concluded,
    has_frontier,
)
from pruneaudit.report.selection import baseline_of, far_from_baselines, primary_attack
from pruneaudit.report.words import attack_name, counted, listed, verb

READINGS: dict[Reading, tuple[str, str]] = {
    "less": ("leaks less", "than"),
    "more": ("leaks more", "than"),
    "not shown": ("no difference shown", "from"),
    "disagree": ("attacks disagree", "on the change from"),
    "not compared": ("", "compared with"),
}
"""A reading in words, and the word before the name of the baseline."""
_WHY_NOT: dict[WhyNot, tuple[str, str]] = {
    "no figure": ("has no figure", "have no figure"),
    "distrusted": ("has figures only of an attack that failed its sanity checks",) * 2,
    "no baseline": ("has no undefended dense network with a figure beside it",) * 2,
    "too accurate": (
        "is more accurate than every undefended dense network",
        "are more accurate than every undefended dense network",
    ),
    "open": ("has, in too many resamples, no undefended dense network as accurate",) * 2,
}
"""For one release and for several."""
_OF_ONE: dict[Reading, str] = {
    "less": "leaks less than",
    "more": "leaks more than",
    "not shown": "is not shown to differ from",
    "disagree": "is disputed: attacks show different changes from",
    "not compared": "could not be compared with",
}
"""The words where there is one release."""


def counted_changes(results: Results, base: str) -> str:
    """Counts what the compressed and defended releases change; empty where there are none."""
    changed = changed_releases(results, base)
    if not changed:
        return ""
    return _at_equal_accuracy(results, changed) if has_frontier(results) else _against_baselines(results, changed)


def _at_equal_accuracy(results: Results, changed: Sequence[str]) -> str:
    """Counts the releases by what the primary attack shows at equal accuracy."""
    found = {name: at_equal_accuracy(results, name) for name in changed}
    readings: list[Reading] = [item.reading if item else "not compared" for item in found.values()]
    reasons = [item.why_not if item and item.why_not else "no figure" for item in found.values()]
    why = _reasons([why for why, reading in zip(reasons, readings, strict=True) if reading == "not compared"])
    if set(readings) == {"not compared"}:
        return f"At equal accuracy no release could be compared: of {_releases(results, len(changed))}, {why}."
    said = _counted(results, readings, "undefended dense networks", why)
    return f"At equal accuracy and under {attack_name(primary_attack(results))}, {said}.{_far(results, changed)}"


def _far(results: Results, changed: Sequence[str]) -> str:
    """A further sentence where the nearest undefended networks are much more accurate."""
    far = [name for name in far_from_baselines(results) if name in changed]
    if not far:
        return ""
    none = f"For {len(far)} of the {len(changed)}, no" if len(far) < len(changed) else "No"
    return f" {none} undefended network has similar accuracy, so lost accuracy alone may explain lower leakage."


def _against_baselines(results: Results, changed: Sequence[str]) -> str:
    """Counts the releases by what all attacks show of their paired differences."""
    readings = [concluded(results, name, baseline_of(results, name)).reading for name in changed]
    if set(readings) == {"not compared"}:
        none = "none has a paired difference with an interval"
        return f"No release could be compared: of {_releases(results, len(changed))}, {none}."
    said = _counted(results, readings, "their baselines" if len(changed) > 1 else "its baseline", "")
    return f"{said[0].upper()}{said[1:]}."


def _counted(results: Results, readings: Sequence[Reading], than: str, why: str) -> str:
    """How many leak less, how many more, and for how many neither is shown."""
    total = len(readings)
    if total == 1:
        unknown = f" ({why})" if readings[0] == "not compared" and why else ""
        return f"the one {changed_words(results)} release {_OF_ONE[readings[0]]} {than}{unknown}"
    less, more, same, split, other = (readings.count(each) for each in _OF_ONE)
    whole = "all" if less == total else f"{less or 'none'} of"
    those = f"{whole} {_releases(results, total)}"
    parts = [
        f"{those} {verb(less, 'leaks', 'leak') if less else 'is shown to leak'} less than {than}",
        *([f"{more} {verb(more, 'leaks', 'leak')} more"] if more else []),
        *([f"{same} {verb(same, 'is', 'are')} not shown to differ"] if same else []),
        *([f"attacks disagree on {split}"] if split else []),
        *([f"{other} could not be compared{f' ({why})' if why else ''}"] if other else []),
    ]
    return listed(parts)


def _reasons(reasons: Sequence[WhyNot]) -> str:
    """How many releases could not be compared, by reason."""
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return listed([f"{number} {verb(number, *_WHY_NOT[why])}" for why, number in counts.items()])


def _releases(results: Results, number: int) -> str:
    return counted(number, f"{changed_words(results)} release")
