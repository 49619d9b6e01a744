"""Sentences that come before any figure: attacks that failed their sanity checks, networks that did not learn."""

from __future__ import annotations

from pruneaudit.evaluation.learned import NOT_LEARNED, not_learned_words
from pruneaudit.evaluation.recorded_checks import failures, warning
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import base_release
from pruneaudit.study import DENSE


def distrusted(results: Results) -> tuple[str, ...]:
    """A sentence for each attack that failed its sanity checks, for the first screen and the terminal."""
    said = [warning(label, reason) for label, reason in failures(results.about).items()]
    return tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in said)


def unlearned(results: Results) -> tuple[str, ...]:
    """Says that the base release did not learn, or how many other releases did not; empty where all learned."""
    found = results.about.get(NOT_LEARNED) or {}
    base = base_release(results)
    if base in found:
        return (not_learned_words("dense networks" if base == DENSE else "networks", found[base]),)
    if found:
        count = "One release" if len(found) == 1 else f"{len(found)} releases"
        return (f"{count} did not learn, or forgot: not above the accuracy of always naming the most frequent class.",)
    return ()
