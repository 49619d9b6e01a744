"""The answer in words: how leaky the networks are, and what each release changes about it.

Pure functions of the results; the page and the terminal show the same sentences. A sentence claims
a direction only where an interval excludes the other one, and names of releases never stand inside
a sentence, so that whoever lays it out can mark them as names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pruneaudit.attacks.groups import is_lower_bound
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.compressed import most_compressed
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    finding,
    primary_attack,
    reference_free_of,
    release_names,
)
from pruneaudit.report.sentences.changes import change_words
from pruneaudit.report.sentences.leakage import headline
from pruneaudit.report.words import counted


@dataclass(frozen=True)
class Change:
    """What one release changes."""

    release: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The answer of a report."""

    headline: str
    """How leaky the dense networks are."""
    changes: tuple[Change, ...]
    """One for each other release, in the order of the study."""
    caveats: tuple[str, ...]
    """What the figures do not say."""


def answer(results: Results) -> Answer:
    """The answer that these results give."""
    base = base_release(results)
    others = [release for release in release_names(results) if release != base]
    changes = tuple(Change(release, change_words(results, release, base)) for release in others)
    return Answer(headline(results, base), changes, _caveats(results, base))


def shown_change(results: Results, changes: tuple[Change, ...]) -> Change | None:
    """The change of the most compressed release: the one that a short summary shows."""
    chosen = most_compressed(results, [change.release for change in changes])
    return next((change for change in changes if change.release == chosen), None)


def _caveats(results: Results, base: str) -> tuple[str, ...]:
    found = []
    if results.about.get("demonstration"):
        found.append("A demonstration on a small subset: these numbers describe these networks, not yours.")
    row = finding(results, base, primary_attack(results))
    networks = 0 if row is None or math.isnan(row["num_victims"]) else int(row["num_victims"])
    if networks == 1:
        found.append("One network was attacked: the intervals cover the choice of samples, not another training run.")
    elif 1 < networks < FEW_MODELS:
        found.append(f"Only {networks} networks were attacked: the intervals are conditional on this bank.")
    alone = reference_free_of(results)
    found += alone.sentences if alone else ()
    failed = len(results.about.get("failures") or [])
    if failed:
        found.append(f"{counted(failed, 'task')} failed: what depends on them is missing here.")
    found += [
        f"{name} is a lower bound of what several releases give away together: one of them alone may give away more."
        for name in filter(is_lower_bound, attack_order(results))
    ]
    found.append("The figures hold for the attacks that were played; a stronger attack may find more.")
    return tuple(found)
