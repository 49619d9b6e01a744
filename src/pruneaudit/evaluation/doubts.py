"""Doubts about the files of an audit of one network: wrong members, or references that were made in another way.

Neither proves a mistake. A network that does not overfit also treats members and others alike.
"""

# N samples, K references

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.signals.signals import Signals
from pruneaudit.study.audit import MATCHED

DOUBTS = "doubts"
"""The key in an audit's `about`."""
MEMBERS, REFERENCES = "members", "references"
"""Kinds of doubts."""
Z = 2.0
"""Members are classified clearly better if the difference exceeds this many standard errors."""
FAR = 0.05
"""References whose test accuracy differs by more were probably made in another way."""


def record_doubts(settings: Sequence[AttackSetting]) -> dict[str, Any]:
    """The part of `about` on doubts; empty without any, and where several networks are attacked.

    Args:
        settings: the attack settings, that of the base release first.

    Returns:
        Under `DOUBTS` a list of `kind`, `release`, and two accuracies in [0, 1]: `own` and `other`. For `MEMBERS` the
        network's on members and on others, for `REFERENCES` that of the network and of its references on non-members.
    """
    if any(len(setting.attack_input.victims) != 1 for setting in settings):
        return {}
    found = [*_about_members(settings[0])] if settings else []
    for setting in settings:
        found += _about_references(setting)
    return {DOUBTS: found} if found else {}


def error_of_gap(right: np.ndarray, wanted: np.ndarray, member: np.ndarray) -> float:
    """The standard error of the difference of two accuracies (members minus others), if both were equal."""
    overall = right[wanted].mean()
    return math.sqrt(overall * (1 - overall) * sum(1 / max(1, (wanted & side).sum()) for side in (member, ~member)))


def _about_members(setting: AttackSetting) -> list[dict[str, Any]]:
    attacked, row = setting.attack_input.attacked, int(setting.attack_input.victims[0])
    right, wanted, member = attacked.is_correct[row], attacked.ordinary[row], attacked.member[row]
    own, other = float(right[wanted & member].mean()), float(right[wanted & ~member].mean())
    if own - other > Z * error_of_gap(right, wanted, member):
        return []
    return [{"kind": MEMBERS, "release": setting.release, "own": own, "other": other}]


def _about_references(setting: AttackSetting) -> list[dict[str, Any]]:
    attack_input = setting.attack_input
    rows = np.flatnonzero(attack_input.allowed[0])
    if setting.references != MATCHED or not len(rows):
        return []
    own = _test_accuracy(attack_input.attacked, attack_input.victims)
    other = _test_accuracy(attack_input.reference, rows)
    if not abs(own - other) > FAR:  # NaN: the references saw every sample
        return []
    return [{"kind": REFERENCES, "release": setting.release, "own": own, "other": other}]


def _test_accuracy(signals: Signals, rows: np.ndarray) -> float:
    """Mean accuracy of some models on their scored non-members; NaN without any."""
    others = signals.ordinary[rows] & ~signals.member[rows]  # (K, N)
    return float(signals.is_correct[rows][others].mean()) if others.any() else float("nan")
