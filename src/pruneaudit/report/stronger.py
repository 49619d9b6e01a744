"""Whether other attacks find clearly more than the primary one, whose figures the answer shows.

The primary attack is chosen by a rule that knows no result, and stays. But who reads its figures must learn that they
are not the most that was found: `contests` compares attacks on the same victims and samples. An attack
that is only a lower bound of what it sees (`joint_lira`) is not named as the one that finds most; the caveats speak of
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pruneaudit.attacks.groups import is_lower_bound
from pruneaudit.evaluation.controls import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.selection import attack_order, primary_attack, primary_knowledge, release_names
from pruneaudit.study import DENSE

_Contest = tuple[float, float, float]
"""Difference, and its interval."""


@dataclass(frozen=True)
class Stronger:
    """An attack that finds more than the primary one on a release."""

    attack: str
    primary: str
    release: str
    quantity: Quantity
    """What it finds more of: AUC, or TPR at a false-positive rate."""
    difference: float
    """Above 0."""
    low: float
    """Lower limit of its 95% interval, above 0."""
    high: float

    @property
    def figure(self) -> str:
        """The difference and its interval: `+0.150 [+0.120, +0.180]`."""
        interval = self.quantity.signed_interval(self.low, self.high)
        return f"{self.quantity.difference(self.difference)} {interval}".rstrip()


def stronger_attacks(results: Results, release: str, quantity: Quantity = AUC) -> tuple[Stronger, ...]:
    """The attacks that find more than the primary one on a release, the one that exceeds it most first.

    Under the primary knowledge. Only where the interval of the paired difference lies above 0; attacks that failed the
    run's own controls are left out, and so are those that are only a lower bound of what they see.
    """
    primary, contests = primary_attack(results), _contests(results, release, quantity)
    broken, found = failures(results.about), []
    for attack in attack_order(results):
        left_out = attack == primary or attack in broken or is_lower_bound(attack)
        contest = None if left_out else _against(contests, attack, primary)
        if contest is not None and contest[1] > 0:
            found.append(Stronger(attack, primary, release, quantity, *contest))
    return tuple(sorted(found, key=lambda stronger: -stronger.difference))


def stronger_anywhere(results: Results) -> tuple[Stronger, ...]:
    """The attack that exceeds the primary one most in AUC on each release where one does, the largest first."""
    found = [stronger[0] for name in release_names(results) if (stronger := stronger_attacks(results, name))]
    return tuple(sorted(found, key=lambda stronger: -stronger.difference))


def _contests(results: Results, release: str, quantity: Quantity) -> dict[tuple[str, str], _Contest]:
    """The contests on a release, by (attack, attack that it is compared with)."""
    table = results.contests
    rows = table[(table["release"] == release) & (table["metric"] == quantity.column)]
    primary = rows[rows["knowledge"] == primary_knowledge(results)]
    # On the dense release all references are dense, whatever the knowledge is called.
    chosen = rows if primary.empty and release == DENSE else primary
    figures = zip(chosen["difference"], chosen["low"], chosen["high"], strict=True)
    return dict(zip(zip(chosen["attack"], chosen["against"], strict=True), figures, strict=True))


def _against(contests: Mapping[tuple[str, str], _Contest], attack: str, primary: str) -> _Contest | None:
    """Attack minus primary attack; None where the two are not linked by contests.

    Runs of older versions compared both with a third attack only. There the limits are the far ends of the two
    intervals: the standard error of a difference is at most the sum of both, however they hang together, so the
    interval is too wide rather than too narrow.
    """
    for contest, sign in ((contests.get((attack, primary)), 1), (contests.get((primary, attack)), -1)):
        if contest is not None:
            low, high = sorted(sign * limit for limit in contest[1:])
            return None if math.isnan(contest[0]) else (sign * contest[0], low, high)
    thirds = [third for name, third in contests if name == attack and (primary, third) in contests]
    if not thirds:
        return None
    mine, other = contests[attack, thirds[0]], contests[primary, thirds[0]]
    return mine[0] - other[0], mine[1] - other[2], mine[2] - other[1]
