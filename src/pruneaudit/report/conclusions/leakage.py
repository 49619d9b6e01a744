"""Decides whether the networks leak, from the intervals of the primary attack and of the other attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import headline_tpr
from pruneaudit.report.selection import attack_order, finding, headline_rate, primary_attack

Verdict = Literal[
    "no attack",
    "no figure",
    "distrusted",
    "no interval",
    "leaks",
    "leaks at low rates",
    "disagree",
    "reversed",
    "not shown",
]
PER = 1000
"""Plain figures refer to this many members, and to this many non-members."""
_GUESSING = 0.5


@dataclass(frozen=True)
class MembersNamed:
    """How many of 1,000 members the attack names, while it wrongly names at most `wrongly` of 1,000 others."""

    rightly: float
    low: float
    """Lower limit of the 95% interval; NaN where there is none."""
    high: float
    wrongly: float
    """The false-positive rate, fixed beforehand. Guessing names as many members."""


def verdict(results: Results, release: str) -> Verdict:
    """What the attacks show of a release, by the intervals under the primary references.

    The primary attack decides. Where it shows nothing and another attack does better than guessing, they disagree.
    """
    attack = primary_attack(results)
    row = finding(results, release, attack)
    if not attack:
        return "no attack"
    if row is None or math.isnan(row["auc"]):
        return "no figure"
    if attack in failures(results.about):
        return "distrusted"
    if math.isnan(row["auc_low"]) or math.isnan(row["auc_high"]):
        return "no interval"
    if row["auc_low"] > _GUESSING:
        return "leaks"
    rate = headline_tpr(results.findings.columns)
    if rate is not None and not math.isnan(row[rate.column]) and row[f"{rate.column}_low"] > (rate.level or 0.0):
        return "leaks at low rates"
    if row["auc_high"] < _GUESSING:
        return "reversed"
    return "disagree" if better_than_guessing(results, release) else "not shown"


def members_named(results: Results, release: str) -> MembersNamed | None:
    """The primary attack's TPR on a release, per 1,000; None where that figure is suppressed or missing."""
    rate, row = headline_rate(results), finding(results, release, primary_attack(results))
    if rate is None or rate.level is None or row is None or math.isnan(row[rate.column]):
        return None
    rightly, low, high = (PER * float(row[f"{rate.column}{end}"]) for end in ("", "_low", "_high"))
    return MembersNamed(rightly, low, high, PER * rate.level)


def better_than_guessing(results: Results, release: str) -> tuple[str, ...]:
    """Returns the attacks, without the primary one, whose AUC on a release is above guessing (primary references)."""
    others = [attack for attack in trusted_attacks(results) if attack != primary_attack(results)]
    return tuple(attack for attack in others if _beats_guessing(results, release, attack))


def num_better_than_guessing(results: Results, release: str) -> tuple[int, int]:
    """Returns how many attacks do better than guessing in AUC on a release, and how many have an interval there."""
    rows = [finding(results, release, attack) for attack in trusted_attacks(results)]
    limits = [row["auc_low"] for row in rows if row is not None and not math.isnan(row["auc_low"])]
    return sum(low > _GUESSING for low in limits), len(limits)


def trusted_attacks(results: Results) -> tuple[str, ...]:
    """The attacks with findings that did not fail the run's own sanity checks, in the order of the study."""
    broken = failures(results.about)
    return tuple(attack for attack in attack_order(results) if attack not in broken)


def _beats_guessing(results: Results, release: str, attack: str) -> bool:
    row = finding(results, release, attack)
    return row is not None and bool(row["auc_low"] > _GUESSING)
