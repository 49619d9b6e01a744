"""Sentences that come before any figure: attacks that failed their sanity checks, networks that did not learn."""

from __future__ import annotations

from pruneaudit.evaluation.learned import NOT_LEARNED, not_learned_words
from pruneaudit.evaluation.recorded_checks import failures, warning
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import base_release
from pruneaudit.report.words import counted
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


def checks_words(results: Results) -> str:
    """How many of the run's sanity checks passed."""
    rows = results.about.get("sanity_checks")
    if not rows:
        return "No sanity check of an attack was recorded."
    passed = sum(bool(row["passed"]) for row in rows)
    of_all = "All" if passed == len(rows) else f"{passed} of"
    return f"{of_all} {counted(len(rows), 'sanity check')} passed: the attacks, played where the answer is known."
