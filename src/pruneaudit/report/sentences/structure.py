"""Puts the leakage of masks and kept channels into words."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.structure import StructureLeak, structure_leaks
from pruneaudit.report.quantities import AUC
from pruneaudit.report.sentences.leakage import reason_of, with_interval
from pruneaudit.report.words import attack_name, counted, first_few, listed, verb

HIDDEN = (
    "Each network started from its own initial weights, and these decide most of what it keeps. This hides the traces "
    "of members from this attack, but does not remove them."
)
COMPOSES = "A published mask is a release in itself: it adds to the leakage of weights or outputs."


def structure_words(results: Results) -> tuple[str, ...]:
    """Says of each release what its structure alone gave away; empty if no attack on structure was played."""
    found = structure_leaks(results)
    if not found:
        return ()
    leaking, quiet = _leaking(found), [leak for leak in found if leak.has_interval and leak.is_quiet]
    said = [_unclear(leak) for leak in found if leak.is_distrusted or not leak.has_interval]
    said += [_wrong(leak) for leak in found if leak.is_null and leak.finds_members]
    said += [_found(leaks) for leaks in leaking]
    said += _nothing_found([leak for leak in quiet if not leak.is_null])
    said += _null([leak for leak in quiet if leak.is_null])
    if any(leak.starts == "own" and not leak.is_null for leak in quiet):
        said.append(HIDDEN)
    return (*said, *([COMPOSES] if leaking else ()))


def structure_in_short(results: Results) -> tuple[str, ...]:
    """The same for a terminal: of several releases whose structure names members, the one with the highest AUC."""
    leaking = _leaking(structure_leaks(results))
    if not leaking:
        return structure_words(results)
    best, *others = sorted(leaking, key=lambda leaks: -float(leaks[0].row["auc"]))
    more = f" So {verb(len(others), 'does', 'do')} {counted(len(others), 'release')} more." if others else ""
    return (_found(best[:1]) + more,)


def _leaking(found: Sequence[StructureLeak]) -> list[list[StructureLeak]]:
    """By release, the attacks that find members in what was chosen after training; the highest AUC first."""
    by_release: dict[str, list[StructureLeak]] = {}
    for leak in found:
        if leak.finds_members and not leak.is_null:
            by_release.setdefault(leak.release, []).append(leak)
    return [sorted(leaks, key=lambda leak: -float(leak.row["auc"])) for leaks in by_release.values()]


def _found(leaks: Sequence[StructureLeak]) -> str:
    """What the structure of one release gave away, under each attack that finds members."""
    first = leaks[0]
    figures = [f"{with_interval(AUC, leak.row)} under {attack_name(leak.attack)}" for leak in leaks]
    number = 2 if "kept" in first.what else 1
    return (
        f"{first.release}: the {first.what} alone, without any output, {verb(number, 'tells', 'tell')} members from"
        f" non-members (guessing: 0.5): AUC {listed(figures)}.{_beside(first)}"
    )


def _beside(leak: StructureLeak) -> str:
    best = leak.best_on_outputs
    if best is None:
        return ""
    several = leak.num_on_outputs > 1
    which = f"The best of {leak.num_on_outputs} attacks on outputs" if several else "The attack on outputs"
    return f" {which}: AUC {with_interval(AUC, best)} ({attack_name(str(best['attack']))})."


def _unclear(leak: StructureLeak) -> str:
    """Why nothing can be said."""
    why = "it failed its sanity checks" if leak.is_distrusted else reason_of(leak.row)
    return f"{leak.release}: nothing can be said about its structure under {attack_name(leak.attack)} ({why})."


def _wrong(leak: StructureLeak) -> str:
    """The alarm of a null in which members are found."""
    return (
        f"{leak.release}: its structure was chosen before any training, so there is nothing to find, but"
        f" {attack_name(leak.attack)} finds members: AUC {with_interval(AUC, leak.row)} (guessing: 0.5). One such"
        " interval in 40 lies above 0.5 by chance; if it lies far above 0.5, something is wrong."
    )


def _nothing_found(leaks: Sequence[StructureLeak]) -> list[str]:
    if not leaks:
        return []
    names = first_few(list(dict.fromkeys(leak.release for leak in leaks)))
    attacks = first_few(list(dict.fromkeys(attack_name(leak.attack) for leak in leaks)))
    return [
        f"In the structure of {names} {attacks} {verb(len({leak.attack for leak in leaks}), 'is', 'are')} not shown to"
        f" find members: {_range(leaks)}."
    ]


def _null(leaks: Sequence[StructureLeak]) -> list[str]:
    if not leaks:
        return []
    names = list(dict.fromkeys(leak.release for leak in leaks))
    return [
        f"{first_few(names)} {verb(len(names), 'is', 'are')} the built-in null: chance or the initial weights alone"
        f" chose what is kept, and nothing was found there, as expected: {_range(leaks)}."
    ]


def _range(leaks: Sequence[StructureLeak]) -> str:
    """The AUC with its interval, or the range of several."""
    if len(leaks) == 1:
        return f"AUC {with_interval(AUC, leaks[0].row)}"
    values = [float(leak.row["auc"]) for leak in leaks]
    return f"AUC {AUC.value(min(values))} to {AUC.value(max(values))}, no interval above 0.5"
