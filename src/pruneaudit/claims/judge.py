"""Judges the published claims on finished runs: every comparison of every question at the simultaneous level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pruneaudit.claims.bank import Bank, Difference
from pruneaudit.claims.catalogue import CLAIMS, DECIDING_ATTACK, OTHER_ATTACKS, Claim, num_intervals
from pruneaudit.claims.comparisons import QUESTIONS, Comparison, NotTestedError, Question, Releases
from pruneaudit.claims.rule import NOT_SHOWN, NOT_TESTED, level_of, verdict
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.families import ATTACK as JOINT_ATTACK
from pruneaudit.report.selection import NEAR
from pruneaudit.study import Study

DECIDING, SECOND, BESIDE, OTHER = "deciding", "second", "beside", "other attack"
"""The parts of a claim's rows. `other attack`: the deciding comparison under another attack."""
COLUMNS = (
    *("run", "source", "claim", "part", "way", "attack", "release", "against", "share"),
    *("value", "low", "high", "level", "verdict"),
    *("accuracy", "accuracy_against", "num_victims", "note"),
)
TEXTS = ("run", "source", "claim", "part", "way", "attack", "release", "against", "verdict", "note")


@dataclass(frozen=True, eq=False)
class Judged:
    """A run that is to be judged."""

    name: str
    study: Study
    """With the baselines that were added."""
    settings: Sequence[AttackSetting]


def judge(run: Judged, num_runs: int, begin: Callable[[str], None] = lambda what: None) -> pd.DataFrame:
    """The rows of all claims in one run, with the columns `COLUMNS`.

    Args:
        run: the run.
        num_runs: how many runs are judged together: their intervals hold simultaneously.
        begin: called with a text before every claim.
    """
    level = level_of(num_intervals(num_runs))
    table = _Table(run, Bank(run.settings, run.study.seed), level)
    rows = []
    with one_blas_thread():
        for claim in CLAIMS:
            begin(f"{run.name}: {claim.says}")
            rows += list(table.rows(claim))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True, eq=False)
class _Table:
    run: Judged
    bank: Bank
    level: float

    def rows(self, claim: Claim) -> Iterator[dict[str, Any]]:
        """The rows of a claim; a single one that says why, if the run lacks a release."""
        try:
            question: Question = QUESTIONS[claim.question](Releases(self.run.study))
            yield self._row(claim, DECIDING, question.deciding)
        except NotTestedError as error:
            yield self._row_about(claim, DECIDING, note=str(error), verdict=NOT_TESTED)
            return
        if question.deciding.way != "together":
            for attack in OTHER_ATTACKS:
                yield from self._if_tested(claim, OTHER, question.deciding, attack)
        if question.second is not None:
            yield from self._if_tested(claim, SECOND, question.second)
        for comparison in question.beside:
            yield from self._if_tested(claim, BESIDE, comparison)

    def _if_tested(
        self, claim: Claim, part: str, comparison: Comparison, attack: str = DECIDING_ATTACK
    ) -> Iterator[dict[str, Any]]:
        try:
            yield self._row(claim, part, comparison, attack)
        except NotTestedError as error:
            if part == SECOND:
                yield self._row_about(claim, part, note=str(error), verdict=NOT_TESTED)

    def _row(self, claim: Claim, part: str, comparison: Comparison, attack: str = DECIDING_ATTACK) -> dict[str, Any]:
        """The row of one comparison.

        Raises:
            NotTestedError: a release lacks what the attack needs.
        """
        found = self.bank.difference(comparison, attack, 1 - self.level)
        is_equal = comparison.way == "equal accuracy"
        before = (found.against,) if is_equal else comparison.before
        accuracy = self.bank.mean_accuracy(comparison.after)
        other = self.bank.mean_accuracy(before) if before != ("",) else np.nan
        return self._row_about(
            claim,
            part,
            way=comparison.way,
            attack=JOINT_ATTACK if comparison.way == "together" else attack,
            release=RELEASE_SEPARATOR.join(comparison.after),
            against=RELEASE_SEPARATOR.join(before),
            share=comparison.share,
            value=found.value,
            low=found.low,
            high=found.high,
            verdict="" if part == BESIDE else _verdict(claim, found),
            accuracy=accuracy,
            accuracy_against=other,
            num_victims=found.num_victims,
            note="; ".join(part for part in (found.note, _lost_accuracy(other - accuracy) if is_equal else "") if part),
        )

    def _row_about(self, claim: Claim, part: str, **more: Any) -> dict[str, Any]:
        row: dict[str, Any] = {column: "" if column in TEXTS else np.nan for column in COLUMNS}
        row |= {"run": self.run.name, "source": self.run.study.data.source.name, "claim": claim.name, "part": part}
        return row | {"level": self.level, **more}


def _lost_accuracy(gap: float) -> str:
    """What a comparison at equal accuracy cannot show if the other network is clearly more accurate, by `gap`."""
    if not gap > NEAR:  # NaN: nothing is as accurate
        return ""
    return f"the dense network is {100 * gap:.1f} points more accurate, so lost accuracy alone may explain less leakage"


def _verdict(claim: Claim, found: Difference) -> str:
    """The verdict of an estimate; "not shown" where the joint attack is weak, "not tested" without any."""
    if np.isnan(found.value):
        return NOT_TESTED
    return NOT_SHOWN if found.is_weak else verdict(claim.kind, found.low, found.high)
