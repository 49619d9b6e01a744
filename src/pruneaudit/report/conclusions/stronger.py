"""Decides whether other attacks find clearly more than the primary attack, the one that the answer shows.

A rule that reads no result chooses the primary attack, and that choice stays. But readers must learn if another attack
found more: `attack_comparisons` compares attacks on the same victims and samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.selection import attack_order, primary_attack, release_names, shown_references
from pruneaudit.study import DENSE

_AttackComparison = tuple[float, float, float]
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
    """Returns the attacks that find more than the primary one on a release, the largest difference first.

    Under the primary references, and only where the interval of the paired difference lies above 0. Attacks that failed
    the run's own sanity checks are left out.
    """
    primary, attack_comparisons = primary_attack(results), _attack_comparisons(results, release, quantity)
    broken, found = failures(results.about), []
    for attack in attack_order(results):
        left_out = attack == primary or attack in broken
        attack_comparison = None if left_out else _against(attack_comparisons, attack, primary)
        if attack_comparison is not None and attack_comparison[1] > 0:
            found.append(Stronger(attack, primary, release, quantity, *attack_comparison))
    return tuple(sorted(found, key=lambda stronger: -stronger.difference))


def stronger_anywhere(results: Results) -> tuple[Stronger, ...]:
    """Returns the attack that exceeds the primary one most in AUC on each release where one does, the largest first."""
    found = [stronger[0] for name in release_names(results) if (stronger := stronger_attacks(results, name))]
    return tuple(sorted(found, key=lambda stronger: -stronger.difference))


def _attack_comparisons(results: Results, release: str, quantity: Quantity) -> dict[tuple[str, str], _AttackComparison]:
    """The attack comparisons on a release, by (attack, attack that it is compared with)."""
    table = results.attack_comparisons
    rows = table[(table["release"] == release) & (table["metric"] == quantity.column)]
    primary = rows[rows["references"] == shown_references(results, release)]
    # On the dense release all references are dense, whatever the references are called.
    chosen = rows if primary.empty and release == DENSE else primary
    figures = zip(chosen["difference"], chosen["low"], chosen["high"], strict=True)
    return dict(zip(zip(chosen["attack"], chosen["against"], strict=True), figures, strict=True))


def _against(
    attack_comparisons: Mapping[tuple[str, str], _AttackComparison], attack: str, primary: str
) -> _AttackComparison | None:
    """Attack minus primary attack; None where the two are not linked by attack comparisons.

    Runs of older versions compared both with a third attack only. Then the limits are the far ends of the two
    intervals: the standard error of a difference is at most the sum of both, whatever their correlation. So the
    interval is too wide rather than too narrow.
    """
    for attack_comparison, sign in (
        (attack_comparisons.get((attack, primary)), 1),
        (attack_comparisons.get((primary, attack)), -1),
    ):
        if attack_comparison is not None:
            low, high = sorted(sign * limit for limit in attack_comparison[1:])
            return None if math.isnan(attack_comparison[0]) else (sign * attack_comparison[0], low, high)
    thirds = [third for name, third in attack_comparisons if name == attack and (primary, third) in attack_comparisons]
    if not thirds:
        return None
    mine, other = attack_comparisons[attack, thirds[0]], attack_comparisons[primary, thirds[0]]
    return mine[0] - other[0], mine[1] - other[2], mine[2] - other[1]
