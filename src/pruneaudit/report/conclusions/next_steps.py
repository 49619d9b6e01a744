"""Derives the next steps from the facts of a report, the most urgent first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pruneaudit.evaluation.learned import NOT_LEARNED
from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.conclusions.agreement import agreement
from pruneaudit.report.conclusions.changes import (
    changed_releases,
    far_changed,
    is_read_at_equal_accuracy,
    none_is_similar,
    readings_of_changed,
)
from pruneaudit.report.conclusions.leakage import verdict
from pruneaudit.report.quantities import headline_tpr
from pruneaudit.report.selection import (
    base_release,
    finding,
    num_references,
    primary_attack,
    reference_free_of,
    target_of,
)

Kind = Literal[
    "check the join",
    "replace the primary attack",
    "train better",
    "use references",
    "read every attack",
    "choose a release",
    "compare at equal accuracy",
    "choose at lower accuracy",
    "add a defence",
    "or add a defence",
    "audit a compressed version",
    "play stronger attacks",
    "train weaker baselines",
    "audit more networks",
    "train more references",
    "audit more samples",
]
FEW_REFERENCES = 16
"""With fewer references attacks find clearly less (LiRA on the demo: AUC .721 with 8, .740 with 16)."""
MIN_REFERENCES = 4
MOST = 4
"""Steps that a first screen has room for."""


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    kind: Kind
    number: int = 0
    """Number of releases, networks or samples in the step; 0 without one."""
    releases: tuple[str, ...] = ()
    """The releases that the step is about."""


def next_steps(results: Results) -> tuple[Step, ...]:
    """Returns at most `MOST` steps, the most urgent first; none if no attack has a figure and nothing else is wrong."""
    base = base_release(results)
    found = verdict(results, base)
    steps = [*_mend(results, found), *_decide(results, base, found), *_sharpen(results, base)]
    return tuple(steps[:MOST])


def _mend(results: Results, found: str) -> list[Step]:
    """Problems that make the figures worth little until they are repaired."""
    return [
        *([Step("check the join")] if found == "reversed" else []),
        *([Step("replace the primary attack")] if primary_attack(results) in failures(results.about) else []),
        *([Step("train better")] if base_release(results) in (results.about.get(NOT_LEARNED) or {}) else []),
        *([Step("use references")] if reference_free_of(results) is not None else []),
        *([Step("read every attack")] if agreement(results).disagrees else []),
    ]


def _decide(results: Results, base: str, found: str) -> list[Step]:
    """Steps that the figures suggest."""
    if found not in ("leaks", "leaks at low rates", "not shown"):
        return []
    if found == "not shown":
        return [Step("play stronger attacks")]
    changed = changed_releases(results, base)
    less, maybe_less = _leaking_less(results, base)
    if less:
        return [Step("choose a release", len(less), less)]
    if not changed:
        return [Step("audit a compressed version")]
    is_defended = bool((results.releases["defense"] != "").any())
    if maybe_less:
        number = len(maybe_less)
        steps = [Step("compare at equal accuracy", number, maybe_less), Step("choose at lower accuracy", number)]
        return [*steps, *([] if is_defended else [Step("or add a defence")])]
    return [] if is_defended else [Step("add a defence", len(changed))]


def _leaking_less(results: Results, base: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The releases shown to leak less, and those of which lost accuracy alone may be the reason.

    Of the latter no undefended network is of similar accuracy.
    """
    is_judged = is_read_at_equal_accuracy(results) or none_is_similar(results)
    far = far_changed(results, base) if is_judged else ()
    less = [name for name, reading in readings_of_changed(results, base).items() if reading == "less"]
    return tuple(name for name in less if name not in far), tuple(name for name in less if name in far)


def _sharpen(results: Results, base: str) -> list[Step]:
    """Steps that make the next audit say more."""
    steps, row = [], finding(results, base, primary_attack(results))
    far, (less, maybe_less) = far_changed(results, base), _leaking_less(results, base)
    if far and is_read_at_equal_accuracy(results) and (less or not maybe_less):  # else a step before says it
        steps.append(Step("train weaker baselines", len(far), far))
    if row is None or math.isnan(row["auc"]):
        return steps
    if target_of(results):
        if (number := num_references(results) or 0) < FEW_REFERENCES:
            steps.append(Step("train more references", max(MIN_REFERENCES, 2 * number)))
    elif 0 < row["num_victims"] < FEW_MODELS:
        steps.append(Step("audit more networks", FEW_MODELS))
    rate = headline_tpr(results.findings.columns)
    if rate is not None and rate.level and math.isnan(row[rate.column]):
        steps.append(Step("audit more samples", math.ceil(MIN_FALSE_POSITIVES / rate.level)))
    return steps
