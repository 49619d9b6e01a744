"""Decides whether the attacks of a run agree: on the base release, and on the change by each other release."""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.changes import changed_releases, concluded
from pruneaudit.report.conclusions.leakage import better_than_guessing, num_better_than_guessing, verdict
from pruneaudit.report.conclusions.stronger import Stronger, stronger_anywhere, stronger_attacks
from pruneaudit.report.selection import base_release, baseline_of, headline_rate, once


@dataclass(frozen=True)
class Agreement:
    """What the attacks say together. Attacks that failed the run's own sanity checks do not count."""

    num_attacks: int
    """Attacks with an interval on the base release."""
    num_better: int
    """Of these, attacks whose AUC is above guessing."""
    against_primary: tuple[str, ...]
    """Attacks that do better than guessing, if the primary attack is not shown to do so."""
    num_releases: int
    """Compressed and defended releases."""
    num_disputed: int
    """Of these, releases on whose change the attacks disagree."""
    stronger: tuple[Stronger, ...]
    """Attacks that find more than the primary one on the base release: first in AUC, the largest difference first, then
    in the TPR that summaries show."""
    stronger_elsewhere: tuple[Stronger, ...]
    """For each release on which attacks exceed the primary one: the attack that does so most; the largest difference
    first."""

    @property
    def disagrees(self) -> bool:
        """Whether some attacks show what the primary one does not."""
        return bool(self.against_primary) or self.num_disputed > 0


@once
def agreement(results: Results) -> Agreement:
    """Returns what the attacks of a run say together."""
    base = base_release(results)
    num_better, num_attacks = num_better_than_guessing(results, base)
    changed = changed_releases(results, base)
    readings = [concluded(results, release, baseline_of(results, release)).reading for release in changed]
    return Agreement(
        num_attacks,
        num_better,
        better_than_guessing(results, base) if verdict(results, base) == "disagree" else (),
        len(changed),
        readings.count("disagree"),
        _stronger(results, base),
        stronger_anywhere(results),
    )


def _stronger(results: Results, base: str) -> tuple[Stronger, ...]:
    by_auc, rate = stronger_attacks(results, base), headline_rate(results)
    known = {found.attack for found in by_auc}
    at_rate = stronger_attacks(results, base, rate) if rate else ()
    return by_auc + tuple(found for found in at_rate if found.attack not in known)
