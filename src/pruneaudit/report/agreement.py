"""What other attacks say beside the primary one, in words: facts come from `conclusions` and `stronger`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions import Conclusion, Shown, better_than_guessing
from pruneaudit.report.quantities import AUC, headline_tpr
from pruneaudit.report.selection import primary_references
from pruneaudit.report.stronger import Stronger, stronger_attacks
from pruneaudit.report.words import attack_name, counted, listed, verb

_MOST_NAMED = 3
"""Attacks that a sentence names; the tables have them all."""


def otherwise_found(results: Results, base: str) -> str:
    """A sentence on the attacks that tell members where the primary one was not shown to; empty without any."""
    better = [attack_name(attack) for attack in better_than_guessing(results, base)]
    if not better:
        return ""
    return f" Attacks disagree: {_first(better)} {verb(len(better), 'does', 'do')} better than guessing."


def stronger_words(results: Results, base: str) -> str:
    """A sentence on the attacks that find more than the primary one; empty without any."""
    by_auc, rate = stronger_attacks(results, base), headline_tpr(results.findings.columns)
    known = {found.attack for found in by_auc}
    at_rate = [found for found in stronger_attacks(results, base, rate) if found.attack not in known] if rate else []
    parts = [_finds_more(found[0]) for found in (by_auc, at_rate) if found]
    others = len(by_auc) + len(at_rate) - len(parts)
    if others:
        parts.append(f"{counted(others, 'other attack')} {verb(others, 'does', 'do')} so too")
    return f" {listed(parts)}." if parts else ""


def _finds_more(found: Stronger) -> str:
    what = "AUC" if found.quantity == AUC else f"members at {100 * (found.quantity.level or 0.0):g}% false positives"
    return f"{attack_name(found.attack)} finds more ({what}: {found.figure})"


def change_said(results: Results, found: Conclusion, row: pd.Series) -> str:
    """What all attacks let one say of the change; the figures of the primary one follow."""
    assert found.primary is not None
    way, name = found.primary.direction, attack_name(found.primary.attack)
    networks = "network leaks" if row["num_victims"] == 1 else "networks leak"
    own = {
        -1: f"the {networks} less under {name}",
        0: f"no difference could be shown under {name}",
        1: f"the {networks} more under {name}",
    }[way]
    if found.reading == "disagree":
        return f"attacks disagree: {own}{differing(results, found)}"
    if found.others:
        alike, others = len(found.of_others(way)), _counted_others(results, found)
        any_of = "any of " if len(found.others) > 1 else ""
        own += (
            f", as under {alike} of {others}" if way and alike else f", nor under {any_of}{others}" if not way else ""
        )
    return own + (", but still above guessing" if way < 0 and row["auc_low"] > 0.5 else "")


def _counted_others(results: Results, found: Conclusion) -> str:
    """How many other attacks there are; where several kinds of references were played, how many pairs."""
    if all(shown.references == primary_references(results) for shown in found.others):
        return counted(len(found.others), "other attack")
    return counted(len(found.others), "other pair", "other pairs") + " of attack and references"


def differing(results: Results, found: Conclusion) -> str:
    """The attacks that show what the primary one does not, with their differences; empty without any."""
    own = 0 if found.primary is None else found.primary.direction
    parts = [
        f"{_first([_shown(results, shown) for shown in showing])} {verb(len(showing), 'shows', 'show')} {word} leakage"
        for way, word in ((-1, "less"), (1, "more"))
        if way != own and (showing := found.of_others(way))
    ]
    return f"; but {listed(parts)}" if parts else ""


def _shown(results: Results, shown: Shown) -> str:
    references = "" if shown.references == primary_references(results) else f", references {shown.references}"
    interval = AUC.signed_interval(shown.low, shown.high)
    return f"{attack_name(shown.attack)}{references} ({AUC.difference(shown.difference)} {interval})"


def _first(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return listed([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])
