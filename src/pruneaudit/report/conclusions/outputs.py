"""Decides how hiding outputs changes the primary attack on the base release: facts, without a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.changes import direction
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import base_release, once, primary_attack, primary_references

_GUESSING = 0.5


@dataclass(frozen=True)
class Hiding:
    """The AUC if the attacker sees only some outputs, and its paired difference from that on all stored outputs."""

    outputs: str
    value: float
    low: float
    difference: float
    difference_low: float
    difference_high: float

    @property
    def direction(self) -> int:
        """-1 or 1 where the interval of the difference lies on one side of 0, else 0."""
        return direction(self.difference_low, self.difference_high)

    @property
    def beats_guessing(self) -> bool:
        """Whether the interval of the AUC is above guessing."""
        return self.low > _GUESSING


@dataclass(frozen=True)
class HidingOutputs:
    """What each reduction of the outputs changes."""

    attack: str
    release: str
    stored: str
    """The outputs that are stored."""
    stored_value: float
    """The AUC on them."""
    steps: tuple[Hiding, ...]
    """In the order of the study."""


@once
def hiding_outputs(results: Results) -> HidingOutputs | None:
    """What reduced outputs change for the primary attack on the base release, under the primary references.

    None where there are no such figures, or the attack failed the run's own sanity checks.
    """
    attack, release, table = primary_attack(results), base_release(results), results.outputs
    rows = table[
        (table["release"] == release)
        & (table["references"] == primary_references(results))
        & (table["attack"] == attack)
        & (table["metric"] == AUC.column)
    ]
    if len(rows) < 2 or attack in failures(results.about) or math.isnan(rows["value"].iloc[0]):
        return None
    first, *others = (row for _, row in rows.iterrows())
    steps = tuple(_step(row) for row in others if not math.isnan(row["difference"]))
    return HidingOutputs(attack, release, str(first["outputs"]), float(first["value"]), steps) if steps else None


def _step(row: pd.Series) -> Hiding:
    columns = ("value", "low", "difference", "difference_low", "difference_high")
    return Hiding(str(row["outputs"]), *(float(row[column]) for column in columns))
