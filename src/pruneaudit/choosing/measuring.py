"""Attacks one candidate on some models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.candidate_tests import Played
from pruneaudit.evaluation.limit_test import LimitTest, Question, unanswered
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.measure import Measured, measure

USUAL_LEVEL = 0.01
"""The false-positive rate at which a TPR is measured if none is limited."""
NO_ATTACK = "none of the attacks is about this kind of release"
Recall = Callable[[str, AttackSetting], Scores | None]


def levels_of(limits: Limits) -> tuple[float, ...]:
    """Returns the false-positive rates at which TPRs are measured."""
    return tuple(limits.max_tpr) or (USUAL_LEVEL,)


def play_attacks(
    settings: Sequence[AttackSetting], attacks: Mapping[str, Attack], levels: Sequence[float], seed: int, recall: Recall
) -> dict[Played, Measured]:
    """Plays every attack with every kind of references.

    Args:
        settings: the attack settings of one candidate.
        attacks: by label. One that is about another kind of release, such as masks, is left out.
        levels: false-positive rates.
        seed: the study's.
        recall: returns stored scores of attacks that train.

    Raises:
        UserError: an attack lacks something that the study does not have.
    """
    found: dict[Played, Measured] = {}
    for label, attack in attacks.items():
        for setting in settings:
            if not attack.fits(setting.attack_input):
                continue
            if lacking := attack.lacks(setting.attack_input):
                raise UserError(f"choose.attacks: attack '{label}' needs {lacking}; leave it out")
            scored = recall(label, setting)
            found[label, setting.references] = measure(attack, label, setting, levels, seed, scored)
    return found


def for_pairs(measured: Mapping[Played, Measured], limits: Limits) -> dict[Played, Measured]:
    """Returns what paired comparisons need of measurements: the limited figures, without scores.

    Hundreds of candidates with all their scores would fill the memory.
    """
    nothing = np.zeros((0, 0))
    return {
        played: replace(
            found,
            scores=nothing,
            ordinary=nothing.astype(bool),
            member=nothing.astype(bool),
            by_column={column: found.by_column[column] for column in limits.leakage},
        )
        for played, found in measured.items()
    }


def unattacked(limits: Limits) -> tuple[LimitTest, ...]:
    """Returns the tests of a candidate that no attack is about: its leakage is unknown, so no limit is kept."""
    return tuple(unanswered(Question(figure, limit), NO_ATTACK) for figure, limit in limits.leakage.items())
