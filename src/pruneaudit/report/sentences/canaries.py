"""What canaries show, in words: the lower bounds on epsilon by the primary attack, each with what it holds for."""

from __future__ import annotations

import pandas as pd

from pruneaudit.evaluation.canaries import DP_SGD, EVERY, GAUSSIAN, HYPOTHESES, ONE_RUN
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import primary_attack, release_names

SINGLE_TRAINING = (ONE_RUN, GAUSSIAN, DP_SGD)
"""The bounds from one training, the weakest hypothesis first."""
NO_BOUND = "A bound of 0 shows nothing."


def canary_words(results: Results) -> tuple[str, ...]:
    """Returns one sentence for each release with canaries; the attack is chosen before any bound is seen."""
    table = results.canaries
    rows = table[(table["attack"] == primary_attack(results)) & (table["victim"] == EVERY)]
    found = ((release, rows[rows["release"] == release]) for release in release_names(results))
    return tuple(_words(str(release), of_release) for release, of_release in found if len(of_release))


def _words(release: str, rows: pd.DataFrame) -> str:
    """The bounds of one release, under the first kind of references."""
    of_kind = rows[rows["references"] == rows["references"].iloc[0]].set_index("figure")
    shown = [figure for figure in SINGLE_TRAINING if figure in of_kind.index]
    bounds = ", ".join(f"{of_kind.loc[figure, 'value']:.2f} for {HYPOTHESES[figure]}" for figure in shown)
    first = of_kind.loc[shown[0]]
    words = (
        f"Canaries of {release}: epsilon is at least {bounds} (95% confidence, delta {first['delta']:g},"
        f" {first['attack']}: {first['correct']:.0f} of {first['guesses']:.0f} guesses right)."
    )
    return words if (of_kind.loc[shown, "value"] > 0).any() else f"{words} {NO_BOUND}"
