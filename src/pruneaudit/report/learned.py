"""What is said before any leakage: networks that did not learn."""

from __future__ import annotations

from pruneaudit.evaluation.learned import NOT_LEARNED, not_learned_words
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import base_release
from pruneaudit.study import DENSE


def unlearned(results: Results) -> tuple[str, ...]:
    """A sentence on the networks that all are held against, or on how many other releases; empty where all learned."""
    found = results.about.get(NOT_LEARNED) or {}
    base = base_release(results)
    if base in found:
        return (not_learned_words("dense networks" if base == DENSE else "networks", found[base]),)
    if found:
        count = "One release" if len(found) == 1 else f"{len(found)} releases"
        return (f"{count} did not learn, or forgot: no better than always naming the most frequent class.",)
    return ()
