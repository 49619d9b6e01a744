"""Counts the named records of each release: in the lists of its victims together, and in the list of the recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pruneaudit.evaluation.records import MODEL


@dataclass(frozen=True)
class Spread:
    """A figure of several lists."""

    mean: float
    lowest: float
    highest: float
    number: int
    """Lists that have it."""


@dataclass(frozen=True)
class Judged:
    """The lists of one release, and of one kind."""

    kind: str
    """`model` or `recipe`."""
    release: str
    score: str
    fdr: float
    num_lists: int
    """Lists of victims; 1 for the recipe. 0 if there is none."""
    figures: dict[str, Spread]
    """By column of `verdicts`; without those that no list has. The share of non-members is 0 for an empty list, as in
    the definition of the false discovery rate."""
    repeats: str
    """The release that this one repeats with another seed; empty for others."""
    suppressed: str
    """Why there is no list; empty if there is one."""

    def mean(self, column: str) -> float:
        """The mean over lists; NaN if none has it."""
        found = self.figures.get(column)
        return math.nan if found is None else found.mean


def judged(verdicts: pd.DataFrame) -> list[Judged]:
    """What the table `verdicts` says of each release, first of models, then of recipes."""
    by_kind = sorted(verdicts.groupby(["kind", "release"], sort=False), key=lambda part: part[0][0] != MODEL)
    return [_judged(str(kind), str(release), rows) for (kind, release), rows in by_kind]


def _judged(kind: str, release: str, rows: pd.DataFrame) -> Judged:
    made, first = rows[rows["suppressed"] == ""], rows.iloc[0]
    numbers = made.select_dtypes("number").copy()
    if kind == MODEL:
        numbers.loc[numbers["num_named"] == 0, "share_nonmembers"] = 0.0
    spreads = {str(column): _spread(numbers[column].to_numpy(dtype=np.float64)) for column in numbers}
    return Judged(
        kind=kind,
        release=release,
        score=str(first["score"]),
        fdr=float(first["fdr"]),
        num_lists=len(made),
        figures={column: found for column, found in spreads.items() if found is not None},
        repeats=str(first["repeats"]),
        suppressed="; ".join(dict.fromkeys(rows["suppressed"][rows["suppressed"] != ""])) if made.empty else "",
    )


def _spread(values: np.ndarray) -> Spread | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    return Spread(float(known.mean()), float(known.min()), float(known.max()), known.size)
