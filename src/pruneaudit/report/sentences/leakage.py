"""Says whether the networks leak: a title, and a detail with the figures behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.leakage import (
    PER,
    MembersNamed,
    Verdict,
    better_than_guessing,
    members_named,
    verdict,
)
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.selection import finding, primary_attack
from pruneaudit.report.sentences.networks import networks_in_full
from pruneaudit.report.words import attack_name, first_few, verb

NO_PROOF = "This does not prove that nothing leaks."


@dataclass(frozen=True)
class LeakageWords:
    """The verdict in words."""

    title: str
    """One short sentence, without figures."""
    detail: str
    """The figures behind the title, with intervals."""

    @property
    def whole(self) -> str:
        """Both, as running text."""
        return f"{self.title} {self.detail}"


def leakage_words(results: Results, release: str) -> LeakageWords:
    """Whether a release leaks, as far as the attacks show it.

    Args:
        results: of a run.
        release: the base release.
    """
    found, networks = verdict(results, release), networks_in_full(results, release)
    return LeakageWords(_title(found, networks, primary_attack(results)), _detail(results, release, found))


def members_words(named: MembersNamed) -> str:
    """How many members the attacker recognises, and how many others are taken for members.

    Example:
        >>> members_words(MembersNamed(124.0, 101.0, 146.0, 10.0))
        'Of 1,000 members it recognises 124 [101, 146], while it takes 10 of 1,000 others for members (guessing: 10).'
    """
    return (
        f"Of {PER:,} members it recognises {members_figure(named)}, while it takes {named.wrongly:g} of {PER:,} others "
        f"for members (guessing: {named.wrongly:g})."
    )


def members_figure(named: MembersNamed) -> str:
    """`124 [101, 146]`."""
    return f"{named.rightly:.0f} {members_interval(named)}".rstrip()


def members_interval(named: MembersNamed) -> str:
    """`[101, 146]`; empty where a limit is missing."""
    return "" if math.isnan(named.low) or math.isnan(named.high) else f"[{named.low:.0f}, {named.high:.0f}]"


def _title(found: Verdict, networks: str, attack: str) -> str:
    is_one, named = int(not networks.endswith("networks")), f"{networks[0].upper()}{networks[1:]}"
    leak, are = verb(is_one, "leaks", "leak"), verb(is_one, "is", "are")
    return {
        "no attack": "No attack was played, so nothing can be said about leakage.",
        "no figure": f"Nothing can be said about {networks}: the primary attack has no figure.",
        "distrusted": f"Nothing can be said about {networks}: the primary attack failed its sanity checks.",
        "no interval": f"Nothing can be said about {networks}: the primary attack's figure has no interval.",
        "leaks": f"{named} {leak}.",
        "leaks at low rates": f"{named} {leak}, but only at low false-positive rates.",
        "disagree": f"Attacks disagree on whether {networks} {leak}.",
        "reversed": f"Something is wrong: {attack_name(attack)} scores members below non-members.",
        "not shown": f"{named} {are} not shown to leak.",
    }[found]


def _detail(results: Results, release: str, found: Verdict) -> str:
    attack = primary_attack(results)
    row, name = finding(results, release, attack), attack_name(attack)
    if found == "no attack":
        return ""
    if found == "no figure" or row is None:
        return f"{name}: {reason_of(row)}."
    figure = f"AUC {with_interval(AUC, row)}"
    if found == "distrusted":
        return f"Under {name}: {figure}. Do not use it."
    if found == "no interval":
        return f"Under {name}: {figure}."
    named = members_named(results, release)
    members = f" {members_words(named)}" if named else ""
    if found == "leaks":
        return f"{name} tells members from non-members: {figure} (guessing: 0.5).{members}"
    if found == "leaks at low rates":
        return f"On average {name} is not shown to do better than guessing: {figure} (guessing: 0.5).{members}"
    if found == "reversed":
        return f"{figure} (guessing: 0.5)."
    weak = f"{name} is not shown to do better than guessing: {figure} (guessing: 0.5).{members}"
    if found == "not shown":
        return f"{weak} {NO_PROOF}"
    better = [attack_name(other) for other in better_than_guessing(results, release)]
    return f"{weak} But {first_few(better)} {verb(len(better), 'does', 'do')} better."


def with_interval(quantity: Quantity, row: pd.Series) -> str:
    """A figure of a row, with its interval where it has one."""
    interval = quantity.interval(row[f"{quantity.column}_low"], row[f"{quantity.column}_high"])
    return f"{quantity.value(row[quantity.column])} {interval}".rstrip()


def reason_of(row: pd.Series | None) -> str:
    """Why a row has no figure."""
    return "the findings have no row of it" if row is None else str(row["suppressed"]) or "no reason was recorded"
