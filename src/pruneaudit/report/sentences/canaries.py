"""Puts the results of canaries into words: the lower bounds on epsilon by the primary attack, each with its assumption.

For several releases together, the bounds come from the joint attack.
"""

from __future__ import annotations

import pandas as pd

from pruneaudit.evaluation.canaries import DP_SGD, EVERY, GAUSSIAN, HYPOTHESES, ONE_RUN
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.family_canaries import is_of_family
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import primary_attack, release_names
from pruneaudit.report.words import first_few

SINGLE_TRAINING = (ONE_RUN, GAUSSIAN, DP_SGD)
"""The bounds from one training, the weakest hypothesis first."""
NO_BOUND = "A bound of 0 shows nothing."


def canary_words(results: Results) -> tuple[str, ...]:
    """Returns one sentence for each release and family with canaries; no bound was seen when attacks were chosen."""
    rows = told_bounds(results)
    together = rows.loc[is_of_family(rows), "release"]
    names = (*release_names(results), *dict.fromkeys(together))
    found = ((str(name), rows[rows["release"] == name]) for name in names)
    return tuple(_words(name, of_release) for name, of_release in found if len(of_release))


def told_bounds(results: Results) -> pd.DataFrame:
    """The rows about all victims: of single releases by the primary attack, of families by the joint one."""
    table = results.canaries
    by_primary = (table["attack"] == primary_attack(results)) & table["release"].isin(release_names(results))
    return table[(by_primary | is_of_family(table)) & (table["victim"] == EVERY)]


def _words(release: str, rows: pd.DataFrame) -> str:
    """The bounds of one release or family, under the first kind of references."""
    of_kind = rows[rows["references"] == rows["references"].iloc[0]].set_index("figure")
    shown = [figure for figure in SINGLE_TRAINING if figure in of_kind.index]
    bounds = ", ".join(f"{of_kind.loc[figure, 'value']:.2f} for {HYPOTHESES[figure]}" for figure in shown)
    first = of_kind.loc[shown[0]]
    words = (
        f"Canaries of {_named(release)}: epsilon is at least {bounds} (95% confidence, delta {first['delta']:g},"
        f" {first['attack']}: {first['correct']:.0f} of {first['guesses']:.0f} guesses right)."
    )
    return words if (of_kind.loc[shown, "value"] > 0).any() else f"{words} {NO_BOUND}"


def _named(release: str) -> str:
    names = release.split(RELEASE_SEPARATOR)
    return f"{first_few(names)} together" if len(names) > 1 else release
