"""Decides how the number of references limits the attacks of an audit: facts, without a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.power import EXTRAPOLATED, MEASURED, SCORED
from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.changes import direction
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import base_release, num_references, once, reference_free_of

LIRA = "lira"


@dataclass(frozen=True)
class Further:
    """LiRA's extrapolated AUC with more references."""

    num_references: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """One attack's AUC with all references, and its paired difference from fewer."""

    attack: str
    num_references: int
    value: float
    fewer: int
    """The next smaller number of references; 0 without one."""
    difference: float
    difference_low: float
    difference_high: float
    further: Further | None
    """The extrapolation to the most references; None for other attacks than LiRA, and where all are refused."""
    refused: str
    """Why nothing is extrapolated; empty if something is, or nothing was asked for."""

    @property
    def direction(self) -> int:
        """1 where the curve still rises, -1 where it falls, 0 where the interval holds 0 or is missing."""
        return direction(self.difference_low, self.difference_high)

    @property
    def understates_weak_leaks(self) -> bool:
        """Whether LiRA's curve still rises: then it finds a smaller part of weak leaks than of strong ones."""
        return self.direction > 0 and self.attack.partition(":")[0] == LIRA


@once
def uncharted_references(results: Results) -> int:
    """The number of references where no curve says what more would find; 0 where one does, or none were used."""
    number = num_references(results) or 0
    return 0 if len(results.power) or reference_free_of(results) is not None else number


@once
def standings(results: Results) -> tuple[Standing, ...]:
    """Where each attack stands on the base release; an attack that failed the run's sanity checks is left out."""
    found = standings_in(results.power, base_release(results))
    return tuple(one for one in found if one.attack not in failures(results.about))


def standings_in(power: pd.DataFrame, release: str) -> tuple[Standing, ...]:
    """Where each attack stands on a release, by the rows of the table `power`."""
    rows = power[(power["release"] == release) & (power["metric"] == AUC.column) & (power["samples"] == SCORED)]
    found = []
    for attack in dict.fromkeys(rows["attack"]):
        mine = rows[rows["attack"] == attack]
        curve = mine[mine["kind"] == MEASURED].sort_values("num_references")
        last = curve.iloc[-1]
        if math.isnan(last["value"]):
            continue
        known = not math.isnan(last["difference"])
        beyond = mine[mine["kind"] == EXTRAPOLATED].sort_values("num_references")
        told = beyond[beyond["value"].notna()]
        change, low, high = (float(last[f"difference{end}"]) for end in ("", "_low", "_high"))
        found.append(
            Standing(
                str(attack),
                int(last["num_references"]),
                float(last["value"]),
                int(curve.iloc[-2]["num_references"]) if known else 0,
                change,
                low,
                high,
                further=_further(told.iloc[-1]) if len(told) else None,
                refused=str(beyond.iloc[0]["suppressed"]) if len(beyond) and not len(told) else "",
            )
        )
    return tuple(found)


def understated(found: Sequence[Standing]) -> bool:
    """Whether LiRA's curve still rises among these."""
    return any(one.understates_weak_leaks for one in found)


def _further(row: pd.Series) -> Further:
    return Further(int(row["num_references"]), *(float(row[column]) for column in ("value", "low", "high")))
