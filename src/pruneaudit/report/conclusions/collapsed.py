"""Finds single networks that failed to learn although most networks of their release learned: they shift its means."""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import once, primary_attack, release_names

SHARE_OF_MEDIAN = 0.5
"""A network with at most this share of the release's median test accuracy counts as collapsed."""


@dataclass(frozen=True)
class Collapsed:
    """The collapsed networks of one release."""

    release: str
    num_collapsed: int
    num_networks: int
    accuracy: float
    """The highest test accuracy (0..1) among them."""
    median: float
    """Of all networks of the release (0..1)."""


@once
def collapsed(results: Results) -> tuple[Collapsed, ...]:
    """The releases with collapsed networks among those that were attacked."""
    table = results.findings
    single = table[(table["attack"] == primary_attack(results)) & ~table["victim"].isin([MEAN, POOLED])]
    single = single[single["test_accuracy"].notna()].drop_duplicates(["release", "victim"])
    found = []
    for release in release_names(results):
        accuracies = single.loc[single["release"] == release, "test_accuracy"]
        low = accuracies[accuracies <= SHARE_OF_MEDIAN * accuracies.median()]
        if len(low):
            found.append(Collapsed(release, len(low), len(accuracies), float(low.max()), float(accuracies.median())))
    return tuple(found)
