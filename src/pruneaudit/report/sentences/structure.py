"""What a mask, or the kept channels, gave away, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.structure import StructureLeak, structure_leaks
from pruneaudit.report.quantities import AUC
from pruneaudit.report.sentences.leakage import reason_of, with_interval
from pruneaudit.report.words import attack_name, first_few, verb

HIDDEN = (
    "Each network started from weights of its own, which decide most of what it keeps. That hides what structure knows "
    "of members from this attack; it does not remove it."
)
COMPOSES = "A published mask is a release of its own: it adds to what the weights or outputs give away."


def structure_words(results: Results) -> tuple[str, ...]:
    """Says of each release what its structure alone gave away; empty if no attack on structure was played."""
    found = structure_leaks(results)
    if not found:
        return ()
    said = [_one(leak) for leak in found if leak.finds_members or not leak.has_interval or leak.is_distrusted]
    quiet = [leak for leak in found if leak.has_interval and not leak.finds_members and not leak.is_distrusted]
    said += _nothing_found([leak for leak in quiet if not leak.is_null])
    said += _null([leak for leak in quiet if leak.is_null])
    if any(leak.starts == "own" and not leak.is_null for leak in quiet):
        said.append(HIDDEN)
    return (*said, *([COMPOSES] if any(leak.finds_members and not leak.is_null for leak in found) else ()))


def structure_in_short(results: Results) -> tuple[str, ...]:
    """The same for a terminal: of several releases whose structure names members, the one with the highest AUC."""
    leaks = [leak for leak in structure_leaks(results) if leak.finds_members and not leak.is_null]
    if not leaks:
        return structure_words(results)
    best = max(leaks, key=lambda leak: float(leak.row["auc"]))
    others = len({leak.release for leak in leaks} - {best.release})
    return (_one(best), *([f"So {verb(others, 'does', 'do')} {others} more on the page."] if others else []))


def _one(leak: StructureLeak) -> str:
    """One sentence on one release: a finding, or why there is none."""
    name, figure = attack_name(leak.attack), f"AUC {with_interval(AUC, leak.row)}"
    if leak.is_distrusted:
        return f"{leak.release}: nothing can be said about its structure, because {name} failed its sanity checks."
    if not leak.has_interval:
        return f"{leak.release}: nothing can be said about its structure under {name} ({reason_of(leak.row)})."
    if leak.is_null:
        return (
            f"{leak.release}: something is wrong. Its structure was chosen before any training, and {name} finds"
            f" members in it: {figure} (guessing: 0.5)."
        )
    number = 2 if "channels" in leak.what else 1
    return (
        f"{leak.release}: the {leak.what} alone, without any output, {verb(number, 'tells', 'tell')} members from"
        f" non-members: {figure} under {name} (guessing: 0.5).{_beside(leak)}"
    )


def _beside(leak: StructureLeak) -> str:
    best = leak.best_on_outputs
    if best is None:
        return ""
    which = "The attack on outputs" if leak.num_on_outputs == 1 else f"The best of {leak.num_on_outputs} on outputs"
    return f" {which}: AUC {with_interval(AUC, best)} ({attack_name(str(best['attack']))})."


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
