"""Counts the releases that leak less, that leak more, and those without a shown difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import changed_words
from pruneaudit.report.conclusions.changes import (
    Reading,
    WhyNot,
    at_equal_accuracy,
    at_equal_size,
    changed_releases,
    concluded,
    far_changed,
    has_frontier,
    is_read_at_equal_accuracy,
    none_is_similar,
    readings_of_changed,
)
from pruneaudit.report.selection import (
    NEAR,
    base_release,
    baseline_of,
    given_baseline,
    is_one_network,
    primary_attack,
    target_of,
)
from pruneaudit.report.sentences.changes import ALL_THAT_WAS_DONE
from pruneaudit.report.sentences.networks import YOUR_MODEL, networks_of
from pruneaudit.report.words import attack_name, counted, listed, verb
from pruneaudit.study import DENSE

SLIGHTLY_MORE = f"0 to {100 * NEAR:g} points more"
"""How much more accurate an undefended network of similar accuracy is, before the adjective."""
_LOST_ACCURACY = "so lost accuracy alone may explain lower leakage"
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
    "distrusted": (
        "has figures only of an attack that failed its sanity checks",
        "have figures only of an attack that failed its sanity checks",
    ),
    "no baseline": (
        "has no undefended dense network with a figure to compare with",
        "have no undefended dense network with a figure to compare with",
    ),
    "too accurate": (
        "is more accurate than every undefended dense network",
        "are more accurate than every undefended dense network",
    ),
    "open": (
        "has no undefended dense network that is as accurate in enough resamples",
        "have no undefended dense network that is as accurate in enough resamples",
    ),
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


@dataclass(frozen=True)
class ChangeGroup:
    """Releases of which the same can be said."""

    words: str
    """Such as `leak less`."""
    releases: tuple[str, ...]
    why: str = ""
    """Why they could not be compared, as `counted_changes` says it; else empty."""


_OF_GROUP: dict[Reading, str] = {
    "less": "Shown to leak less",
    "more": "Shown to leak more",
    "not shown": "Not shown to differ",
    "disagree": "Attacks disagree",
    "not compared": "Could not be compared",
}
"""The words before the names of a group."""


def comparison_words(results: Results) -> str:
    """What compressed and defended releases are compared with."""
    if base := given_baseline(results):
        return f"In AUC under all attacks, compared with {base}: {ALL_THAT_WAS_DONE}"
    if not is_read_at_equal_accuracy(results):
        than = _their_baselines(results, changed_releases(results, base_release(results)))
        return f"In AUC under all attacks, compared with {than}"
    than = "compared with the least leaky undefended dense network that is at least as accurate"
    return f"In AUC under {attack_name(primary_attack(results))} alone, {than}"


def change_groups(results: Results, base: str) -> tuple[ChangeGroup, ...]:
    """The compressed and the defended releases, by what is shown of them."""
    readings, groups = readings_of_changed(results, base), []
    for reading, words in _OF_GROUP.items():
        names = tuple(name for name, found in readings.items() if found == reading)
        is_unknown = reading == "not compared" and is_read_at_equal_accuracy(results)
        if names:
            groups.append(ChangeGroup(words, names, _why_not_compared(results, names) if is_unknown else ""))
    return tuple(groups)


def far_words(results: Results, base: str) -> tuple[str, tuple[str, ...]]:
    """A sentence on the releases whose lower leakage may be lost accuracy, and the names that end it.

    Without names where it is about all of them; both empty where it is about none.
    """
    far = far_changed(results, base)
    if not far:
        return "", ()
    if none_is_similar(results):
        return _none_similar(results, base), ()
    return f"No undefended network is {SLIGHTLY_MORE} accurate than these, {_LOST_ACCURACY}:", far


def _none_similar(results: Results, base: str) -> str:
    """Why nothing is said at equal accuracy."""
    leaks_less = "less" in readings_of_changed(results, base).values()
    so = _LOST_ACCURACY if leaks_less else "so nothing is compared at equal accuracy"
    return f"No undefended network is of similar accuracy ({SLIGHTLY_MORE}), {so}."


def counted_changes(results: Results, base: str) -> str:
    """Counts what the compressed and defended releases change; empty where there are none."""
    changed = changed_releases(results, base)
    if not changed:
        return ""
    paired = _against_baselines(results, changed)
    if not has_frontier(results):
        return paired
    if none_is_similar(results):
        return f"{paired} {_none_similar(results, base)}"
    # Of predictions one baseline is known, and many a release is more accurate: the paired comparison is always shown.
    at_equal = _at_equal_accuracy(results, changed)
    return f"{paired} {at_equal}" if given_baseline(results) else at_equal


def counted_at_equal_size(results: Results) -> str:
    """Counts the compressed and defended releases by what the primary attack shows at equal size.

    Empty where none could be compared.
    """
    readings = [at_equal_size(results, name) for name in changed_releases(results, base_release(results))]
    if not readings or set(readings) == {"not compared"}:
        return ""
    others = "other" if given_baseline(results) else "other undefended"
    said = _counted(results, readings, f"the least leaking {others} release as small and as accurate", "")
    return f"At equal size and under {attack_name(primary_attack(results))}, {said}."


def _undefended(results: Results) -> str:
    """The networks that a release is compared with at equal accuracy."""
    number = int(results.frontier.loc[results.frontier["is_baseline"].astype(bool), "release"].nunique())
    if number == 1 and is_one_network(results):
        return networks_of(results, base_release(results))
    return "undefended dense networks"


def _at_equal_accuracy(results: Results, changed: Sequence[str]) -> str:
    """Counts the releases by what the primary attack shows at equal accuracy."""
    found = [at_equal_accuracy(results, name) for name in changed]
    readings: list[Reading] = [item.reading if item else "not compared" for item in found]
    unknown = [name for name, reading in zip(changed, readings, strict=True) if reading == "not compared"]
    why = _why_not_compared(results, unknown)
    if set(readings) == {"not compared"}:
        return f"At equal accuracy no release could be compared: of {_releases(results, len(changed))}, {why}."
    said = _counted(results, readings, _undefended(results), why)
    return f"At equal accuracy and under {attack_name(primary_attack(results))}, {said}.{_far(results, len(changed))}"


def _far(results: Results, num_changed: int) -> str:
    """A further sentence where the nearest undefended networks are much more accurate."""
    far = far_changed(results, base_release(results))
    if not far:
        return ""
    none = f"For {len(far)} of the {num_changed}, no" if len(far) < num_changed else "No"
    return f" {none} undefended network is {SLIGHTLY_MORE} accurate, {_LOST_ACCURACY}."


def _against_baselines(results: Results, changed: Sequence[str]) -> str:
    """Counts the releases by what all attacks show of their paired differences."""
    readings = [concluded(results, name, baseline_of(results, name)).reading for name in changed]
    if set(readings) == {"not compared"}:
        none = "none has a paired difference with an interval"
        return f"No release could be compared: of {_releases(results, len(changed))}, {none}."
    said = _counted(results, readings, _their_baselines(results, changed), "")
    return f"{said[0].upper()}{said[1:]}."


def _their_baselines(results: Results, changed: Sequence[str]) -> str:
    """What these releases are compared with, each with its own."""
    if given := given_baseline(results):
        return given
    if target_of(results) and {baseline_of(results, name) for name in changed} == {DENSE}:
        return YOUR_MODEL
    return "its baseline" if len(changed) == 1 else "their baselines"


def _counted(results: Results, readings: Sequence[Reading], than: str, why: str) -> str:
    """How many leak less, how many more, and for how many neither is shown."""
    total = len(readings)
    if total == 1:
        unknown = f" ({why})" if readings[0] == "not compared" and why else ""
        return f"the one {changed_words(results)} release {_OF_ONE[readings[0]]} {than}{unknown}"
    less, more, same, split, other = (readings.count(each) for each in _OF_ONE)
    of_all = "both" if less == total == 2 else f"all {total}" if less == total else f"{less or 'none'} of {total}"
    those = f"{of_all} {changed_words(results)} releases"
    parts = [
        f"{those} {verb(less, 'leaks', 'leak') if less else 'is shown to leak'} less than {than}",
        *([f"{more} {verb(more, 'leaks', 'leak')} more"] if more else []),
        *([f"{same} {verb(same, 'is', 'are')} not shown to differ"] if same else []),
        *([f"attacks disagree on {split}"] if split else []),
        *([f"{other} could not be compared{f' ({why})' if why else ''}"] if other else []),
    ]
    return listed(parts)


def _why_not_compared(results: Results, releases: Sequence[str]) -> str:
    """How many of these releases could not be compared at equal accuracy, by reason."""
    found = [at_equal_accuracy(results, name) for name in releases]
    reasons: list[WhyNot] = [item.why_not if item and item.why_not else "no figure" for item in found]
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return listed([f"{number} {verb(number, *_WHY_NOT[why])}" for why, number in counts.items()])


def _releases(results: Results, number: int) -> str:
    return counted(number, f"{changed_words(results)} release")
