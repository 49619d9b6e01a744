"""Whether another attack finds clearly more than the declared one, whose figures the answer shows.

The declared attack was fixed before any result and stays. But who reads its figures must learn that they are not the
most that was found: `contests` holds attacks against each other on the same victims and samples. An attack that is only
a lower bound of what it sees (`joint_lira`) is not named as the one that finds most; the caveats speak of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pruneaudit.attacks.groups import is_lower_bound
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import attack_order, primary_attack, primary_knowledge, release_names
from pruneaudit.results import Results
from pruneaudit.study import DENSE

_Contest = tuple[float, float, float]
"""Difference in AUC, and its interval."""


@dataclass(frozen=True)
class Stronger:
    """The attack that finds more than the declared one, where it exceeds it most."""

    attack: str
    declared: str
    release: str
    difference: float
    """In AUC, above 0."""
    low: float
    """Lower limit of its 95% interval, above 0."""
    high: float
    num_releases: int
    """Releases on which any attack finds clearly more."""


def stronger_attack(results: Results) -> Stronger | None:
    """The attack that exceeds the declared one most in AUC, where an interval excludes that it does not at all.

    Under the primary knowledge. None where no attack does, or where none was held against it.
    """
    declared, found = primary_attack(results), []
    candidates = [name for name in attack_order(results) if name != declared and not is_lower_bound(name)]
    for release in release_names(results):
        contests = _contests(results, release)
        for attack in candidates:
            contest = _against(contests, attack, declared)
            if contest is not None and contest[1] > 0:
                found.append((contest, release, attack))
    if not found:
        return None
    contest, release, attack = max(found, key=lambda item: item[0][0])
    return Stronger(attack, declared, release, *contest, num_releases=len({item[1] for item in found}))


def _contests(results: Results, release: str) -> dict[tuple[str, str], _Contest]:
    """The contests on a release, by (attack, attack that it is held against)."""
    table = results.contests
    rows = table[(table["release"] == release) & (table["metric"] == AUC.column)]
    primary = rows[rows["knowledge"] == primary_knowledge(results)]
    # On the dense release all references are dense, whatever the knowledge is called.
    chosen = rows if primary.empty and release == DENSE else primary
    figures = zip(chosen["difference"], chosen["low"], chosen["high"], strict=True)
    return dict(zip(zip(chosen["attack"], chosen["against"], strict=True), figures, strict=True))


def _against(contests: Mapping[tuple[str, str], _Contest], attack: str, declared: str) -> _Contest | None:
    """Attack minus declared attack; None where the two are not linked by contests.

    Where both were held against a third attack, the limits are the far ends of the two intervals. The standard error of
    a difference is at most the sum of both, however they hang together, so the interval is too wide rather than too
    narrow.
    """
    for contest, sign in ((contests.get((attack, declared)), 1), (contests.get((declared, attack)), -1)):
        if contest is not None:
            low, high = sorted(sign * limit for limit in contest[1:])
            return None if math.isnan(contest[0]) else (sign * contest[0], low, high)
    thirds = [third for name, third in contests if name == attack and (declared, third) in contests]
    if not thirds:
        return None
    mine, other = contests[attack, thirds[0]], contests[declared, thirds[0]]
    return mine[0] - other[0], mine[1] - other[2], mine[2] - other[1]


def stronger_figure(found: Stronger) -> str:
    """The difference and its interval: `+0.150 [+0.120, +0.180]`."""
    return f"{AUC.signed(found.difference)} {AUC.signed_interval(found.low, found.high)}".rstrip()
