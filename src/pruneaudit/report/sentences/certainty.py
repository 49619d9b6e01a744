"""Says what the intervals cover, and what the figures do not show."""

from __future__ import annotations

import math

import pandas as pd

from pruneaudit.attacks.reference_free import WEAKEST, WRONG_WAY
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.compressed import sizes_are_stated
from pruneaudit.report.conclusions.collapsed import collapsed
from pruneaudit.report.conclusions.next_steps import FEW_REFERENCES
from pruneaudit.report.quantities import TEST_ACCURACY
from pruneaudit.report.selection import (
    NOT_STATED,
    base_release,
    finding,
    given_baseline,
    num_references,
    primary_attack,
    reference_free_of,
    target_of,
)
from pruneaudit.report.sentences.changes import ALL_THAT_WAS_DONE
from pruneaudit.report.words import counted, verb

DEMONSTRATION = "This is a demonstration on a small subset: these numbers describe these networks, not yours."


def certainty(results: Results) -> str:
    """Says what the intervals cover, and if the attacker had no references; empty if nothing is known."""
    row, alone = finding(results, base_release(results), primary_attack(results)), reference_free_of(results)
    weakest = f"{alone.fact} {WEAKEST}" if alone else ""
    if row is None or math.isnan(row["num_victims"]):
        return weakest
    return f"{of_target(results) or _intervals(row)} {weakest}".rstrip()


def of_target(results: Results) -> str:
    """What the intervals cover where the user's own model is the only victim; empty without a target."""
    target = target_of(results)
    if not target:
        return ""
    number = num_references(results) or 0
    these = f" and {verb(number, 'this', 'these')} {counted(number, 'reference')}" if number else ""
    others = ", or other references" if number else ""
    said = (
        f"The 95% intervals cover the choice of samples, for this model ({target['name']}){these}. They do not cover"
        f" another training run of this network{others}."
    )
    few = (
        f" With only {counted(number, 'reference')}, attacks find less than with more."
        if 0 < number < FEW_REFERENCES
        else ""
    )
    return said + few


def _intervals(row: pd.Series) -> str:
    networks = int(row["num_victims"])
    if networks == 1:
        return "The 95% intervals cover the choice of samples. They do not cover another training run of this network."
    samples = f"the {row['num_members'] + row['num_nonmembers']:,.0f} samples that each was queried with"
    said = f"The 95% intervals cover the choice of {networks} networks and of {samples}."
    few = " So few networks say little about other networks of the same training."
    return said + few * (networks < FEW_MODELS)


def collapsed_words(results: Results) -> tuple[str, ...]:
    """A sentence for each release in which single networks did not learn."""
    return tuple(
        f"{found.num_collapsed} of {found.num_networks} networks of {found.release} did not learn (test accuracy "
        f"{TEST_ACCURACY.value(found.accuracy)}, median {TEST_ACCURACY.value(found.median)}). This shifts the means "
        f"of the release."
        for found in collapsed(results)
    )


def _of_given_releases(results: Results) -> list[str]:
    """What predictions of several releases cannot show."""
    base = given_baseline(results)
    return [
        f"The differences from {base} show {ALL_THAT_WAS_DONE}. The effect of compression alone is suppressed: "
        f"{NOT_STATED}.",
        "Predictions do not say how large a network is: the sizes are those that were given."
        if sizes_are_stated(results)
        else "Predictions do not say how large a network is, so releases are not compared at equal size.",
    ]


def caveats(results: Results) -> tuple[str, ...]:
    """Says what the figures do not show, a sentence each."""
    failed = len(results.about.get("failures") or [])
    return (
        *([DEMONSTRATION] if results.about.get("demonstration") else []),
        *([said] if (said := certainty(results)) else []),
        *collapsed_words(results),
        *([WRONG_WAY] if reference_free_of(results) else []),
        *(_of_given_releases(results) if given_baseline(results) else []),
        *([f"{counted(failed, 'task')} failed. Results that depend on them are missing here."] if failed else []),
        "The figures hold for the attacks that were played. A stronger attack can find more.",
    )
