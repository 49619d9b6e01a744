"""Decides what the structure of each release reveals, next to its outputs: facts, without a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from pruneaudit.attacks import ATTACKS
from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import attack_order, finding, once, release_names, study_of
from pruneaudit.study.kept import chosen_blindly, kept_by, starts_are_own
from pruneaudit.study.lineage import release_of

Starts = Literal["own", "same", "unknown"]
"""The initial weights of the networks: each has its own, all have the same, or it is unknown."""
_GUESSING = 0.5


@dataclass(frozen=True, eq=False)
class StructureLeak:
    """One attack on the structure of one release, under the references that summaries show."""

    release: str
    attack: str
    row: pd.Series
    """Its row of the findings."""
    best_on_outputs: pd.Series | None
    """The row of the attack on outputs with the highest AUC on this release; None without any."""
    num_on_outputs: int
    """Number of attacks on outputs that have a figure there."""
    what: str
    """The structure that the release shows, such as `mask`; `structure` if it is unknown."""
    starts: Starts
    is_null: bool
    """Whether the structure was chosen before any training, so that there is nothing to find."""
    is_distrusted: bool
    """Whether the attack failed the run's own sanity checks."""

    @property
    def finds_members(self) -> bool:
        """Whether the interval of the AUC is above guessing."""
        return bool(self.row["auc_low"] > _GUESSING) and not self.is_distrusted

    @property
    def is_quiet(self) -> bool:
        """Whether it may be trusted, and finds no members."""
        return not (self.is_distrusted or self.finds_members)

    @property
    def has_interval(self) -> bool:
        """Whether there is a figure with an interval."""
        return not math.isnan(self.row["auc_low"])


def reads_structure(label: str) -> bool:
    """Whether an attack sees structure, and no outputs; False for one that is not installed here."""
    name = label.partition(":")[0]
    return name in ATTACKS.names() and "structure" in ATTACKS.get(name).needs


@once
def structure_leaks(results: Results) -> tuple[StructureLeak, ...]:
    """Every attack on structure on every release that has a row, in the order of releases and attacks."""
    played, broken = attack_order(results), failures(results.about)
    on_structure = [attack for attack in played if reads_structure(attack)]
    on_outputs = [attack for attack in played if not reads_structure(attack) and attack not in broken]
    found = []
    for release in release_names(results) if on_structure else ():
        known = _known(results, release)
        others = [row for attack in on_outputs if (row := finding(results, release, attack)) is not None]
        others = [row for row in others if not math.isnan(row["auc"])]
        best = max(others, key=lambda row: float(row["auc"]), default=None)
        for attack in on_structure:
            row = finding(results, release, attack)
            if row is not None:
                found.append(StructureLeak(release, attack, row, best, len(others), *known, attack in broken))
    return tuple(found)


def _known(results: Results, release: str) -> tuple[str, Starts, bool]:
    """What a release shows, how its networks started, and whether it is the built-in null."""
    study = study_of(results)
    described = None if study is None else release_of(study, release)
    if study is None or described is None:
        return "structure", "unknown", False
    starts: Starts = "own" if starts_are_own(study, described) else "same"
    return kept_by(study, described) or "structure", starts, chosen_blindly(study, described)
