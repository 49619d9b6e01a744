"""The headline: whether the dense networks leak, as far as the primary attack's intervals let one say so.

The page shows it without figures, the terminal and notebooks with them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.leakage import (
    _found,
    better_than_guessing,
    networks_of,
    reason_of,
    verdict,
    with_interval,
)
from pruneaudit.report.conclusions.stronger import Stronger, stronger_attacks
from pruneaudit.report.quantities import AUC, headline_tpr
from pruneaudit.report.selection import (
    finding,
    primary_attack,
)
from pruneaudit.report.words import attack_name, counted, listed, verb


def headline(results: Results, base: str) -> str:
    """Whether the networks that all are compared with leak, with figures: for the terminal and notebooks."""
    attack = primary_attack(results)
    if not attack:
        return "No attack was played, so there is nothing to say about leakage."
    row, name, said = finding(results, base, attack), attack_name(attack), verdict(results, base)
    networks = networks_of(results, base)
    if said == "no figure" or row is None:
        return f"{name}, the attack chosen by rule, gave no figure on the {networks}: {reason_of(row)}."
    if said == "distrusted":
        return (
            f"{name}, the attack chosen by rule, failed this run's own sanity checks, so nothing is concluded from it."
        )
    figure, rate = with_interval(AUC, row), headline_tpr(results.findings.columns)
    found = _found(rate, row)
    if said == "no interval":
        return f"{name} reaches AUC {figure} on the {networks}; without an interval nothing is concluded from it."
    leak, beside = verb(int(networks.endswith("network")), "leaks", "leak"), stronger_words(results, base)
    then = f" and {found}" if found else ""
    if said == "leaks":
        return f"The {networks} {leak}: {name} tells members from non-members with AUC {figure}{then}.{beside}"
    if said == "leaks at low rates":
        return (
            f"The {networks} {leak} at low false-positive rates: {name} {found}, "
            f"although its AUC of {figure} does not show more than guessing.{beside}"
        )
    then = f"; it {found}" if found else ""
    if said == "reversed":
        return (
            f"On the {networks} {name} ranks members below non-members: AUC {figure}{then}. "
            f"Check how members and scores were joined before reading on.{beside}"
        )
    rest = otherwise_found(results, base) or " That is no proof that nothing leaks."
    return f"On the {networks} {name} was not shown to do better than guessing: AUC {figure}{then}.{rest}{beside}"


def short_headline(results: Results, base: str) -> str:
    """The same without figures, which stand below it on the page; with them where no direction can be told."""
    attack, networks = attack_name(primary_attack(results)), networks_of(results, base)
    leak, beside = verb(int(networks.endswith("network")), "leaks", "leak"), stronger_words(results, base)
    no_proof = otherwise_found(results, base) or " That is no proof that nothing leaks."
    return {
        "leaks": f"The {networks} {leak}: {attack} tells members from non-members better than guessing.{beside}",
        "leaks at low rates": f"The {networks} {leak} at low false-positive rates under {attack}, if not on average."
        f"{beside}",
        "reversed": f"On the {networks} {attack} ranks members below non-members: check how members and scores were "
        f"joined.{beside}",
        "not shown": f"On the {networks} {attack} was not shown to do better than guessing.{no_proof}{beside}",
    }.get(verdict(results, base)) or headline(results, base)


_MOST_NAMED = 3
"""Attacks that a sentence names; the tables have them all."""


def otherwise_found(results: Results, base: str) -> str:
    """A sentence on the attacks that tell members where the primary one was not shown to; empty without any."""
    better = [attack_name(attack) for attack in better_than_guessing(results, base)]
    if not better:
        return ""
    return f" Attacks disagree: {first_few(better)} {verb(len(better), 'does', 'do')} better than guessing."


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


def first_few(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return listed([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])
