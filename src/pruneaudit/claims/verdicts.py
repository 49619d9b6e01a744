"""What the rows of judged runs say about each claim: verdicts by run and overall, and other attacks that disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.claims.catalogue import CLAIMS, Claim
from pruneaudit.claims.judge import DECIDING, OTHER, SECOND
from pruneaudit.claims.rule import NOT_TESTED, Verdict, overall


@dataclass(frozen=True)
class Found:
    """A verdict with the numbers behind it."""

    run: str
    verdict: Verdict
    interval: str
    """Value and interval as a text; empty without any."""
    note: str
    attack: str = ""


@dataclass(frozen=True)
class Line:
    """The verdicts on one claim."""

    claim: Claim
    deciding: tuple[Found, ...]
    """One per run."""
    second: tuple[Found, ...]
    """At equal accuracy, or against a second release without compression; empty if there is none."""
    otherwise: tuple[Found, ...]
    """Other attacks whose verdict differs from the deciding one."""

    @property
    def overall(self) -> str:
        """The verdict on all runs."""
        return overall([found.verdict for found in self.deciding])

    @property
    def second_overall(self) -> str:
        """The second verdict on all runs; empty if there is none."""
        return overall([found.verdict for found in self.second]) if self.second else ""


def lines(table: pd.DataFrame) -> list[Line]:
    """The verdicts on every claim.

    Args:
        table: the rows of `judge`, of one or several runs.
    """
    return [
        _line(claim, table[table["claim"] == claim.name]) for claim in CLAIMS if (table["claim"] == claim.name).any()
    ]


def number(value: float) -> str:
    """A difference of AUCs: a sign and four digits."""
    return f"{round(value, 4) + 0.0:+.4f}"  # -0.0 + 0.0 is 0.0


def interval(value: float, low: float, high: float) -> str:
    """A difference with its interval; an open end is written as such, and empty without a value."""
    if math.isnan(value):
        return ""
    if math.isnan(low) and math.isnan(high):
        return number(value)
    ends = ["open" if math.isnan(end) else number(end) for end in (low, high)]
    return f"{number(value)} [{', '.join(ends)}]"


def _line(claim: Claim, rows: pd.DataFrame) -> Line:
    deciding = _found(rows[rows["part"] == DECIDING])
    decided = {found.run: found.verdict for found in deciding}
    others = _found(rows[rows["part"] == OTHER])
    otherwise = tuple(found for found in others if found.verdict not in (decided[found.run], NOT_TESTED))
    return Line(claim, deciding, _found(rows[rows["part"] == SECOND]), otherwise)


def _found(rows: pd.DataFrame) -> tuple[Found, ...]:
    return tuple(
        Found(row["run"], row["verdict"], interval(row["value"], row["low"], row["high"]), row["note"], row["attack"])
        for row in records(rows)
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def runs_in(table: pd.DataFrame) -> Sequence[str]:
    """The judged runs, in order."""
    return list(dict.fromkeys(table["run"]))
