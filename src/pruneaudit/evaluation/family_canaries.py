"""Canaries of a family: a lower bound on epsilon of all its releases together.

One attacker sees all releases of a victim, and scores each canary by the attack `family` (`attacks/family.py`). Its
weights are learned on references, whose coins are independent of the victim's. So the guesses give the bounds of
`canaries.py` for the mechanism that publishes all of these releases. The attack is declared beforehand, so nothing is
paid for a choice among attacks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pruneaudit.attacks import ATTACKS
from pruneaudit.core.errors import UserError
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.canaries import Bounds, CanaryScores, canary_findings
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.families import ATTACK, FEWEST_RELEASES, JointAttack
from pruneaudit.evaluation.findings import Row


def with_family_canaries(
    table: pd.DataFrame,
    settings: Sequence[AttackSetting],
    families: Sequence[Sequence[str]],
    bounds: Bounds,
    seed: int,
) -> pd.DataFrame:
    """The table `canaries` with the rows of families, instead of earlier ones.

    Their `release` is the family, as in the table `families`, and their `attack` is `family`.

    Args:
        table: `Results.canaries`.
        settings: the attack settings of all releases.
        families: sets of releases; those that cannot be attacked together have no rows.
        bounds: number of guesses and delta.
        seed: the study's.
    """
    if not any(setting.attack_input.attacked.canaries.any() for setting in settings):
        return table
    rows: list[Row] = []
    with one_blas_thread():
        for family in dict.fromkeys(map(tuple, families)):
            rows += _rows(settings, family, bounds, seed)
    others = table[~is_of_family(table)]
    return pd.concat([others, pd.DataFrame(rows)], ignore_index=True) if rows else others


def is_of_family(table: pd.DataFrame) -> pd.Series:
    """Which rows of the table `canaries` are about several releases together."""
    return (table["attack"] == ATTACK) & table["release"].str.contains(RELEASE_SEPARATOR, regex=False)


def _rows(settings: Sequence[AttackSetting], family: tuple[str, ...], bounds: Bounds, seed: int) -> list[Row]:
    if len(family) < FEWEST_RELEASES:
        return []
    try:
        joint = JointAttack.of(settings, family, (), seed)
    except UserError:  # the tables of families say why
        return []
    scores = np.where(joint.attack_input.eligible, joint.scores(family), np.nan)
    found = CanaryScores.of(joint.setting, ATTACK, scores, seed)
    return list(canary_findings(found, ATTACKS.get(ATTACK)(), bounds))
