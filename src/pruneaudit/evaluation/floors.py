"""Reports how zeros and ones among given probabilities affect an audit; it changes no result.

A probability of 0 or 1 is moved inwards by half of the data's resolution. The half is a convention. RMIA compares
probabilities and hardly depends on it; LiRA compares log-odds, so another convention can change its result.
"""

# V victims, N samples

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.primary import MANY_FLOORED
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.given import parts_of
from pruneaudit.evaluation.measure import play
from pruneaudit.evaluation.outcome import Audit, SettingScores
from pruneaudit.metrics import auc_influence
from pruneaudit.signals.signals import Signals

FINER = 10
"""LiRA is also tried with a floor this many times closer to 0 and 1: a twentieth of the resolution."""
NOTICEABLE = 0.01
"""A larger change of LiRA's AUC gives a warning."""


def tell_floors(found: Audit, attacks: Mapping[str, Attack], seed: int) -> None:
    """Writes into `about` the probabilities' resolution, the share of floored ones, and whether LiRA depends on it.

    With several releases `about["probabilities"]` is of the first that has probabilities; warnings are of each.

    Args:
        found: an audit with one attack setting for each release; this adds to its `about`.
        attacks: the played attacks, by label.
        seed: the audit's seed.
    """
    for scores in found.settings:
        told, warnings = _floors(scores, attacks, seed)
        prefix = f"{scores.setting.release}: " if len(found.settings) > 1 else ""
        found.results.about["warnings"] += [prefix + text for text in warnings]
        if told:
            found.results.about.setdefault("probabilities", told)


def _floors(scores: SettingScores, attacks: Mapping[str, Attack], seed: int) -> tuple[dict[str, Any], list[str]]:
    """What is told of one release, and warnings; both empty without probabilities."""
    setting, attack_input = scores.setting, scores.setting.attack_input
    resolution = next((part.resolution for part in parts_of(attack_input) if part.resolution is not None), None)
    if resolution is None:
        return {}, []
    floored = attack_input.share_floored
    told: dict[str, Any] = {
        "resolution_at_0": float(resolution[0]),
        "resolution_at_1": float(resolution[1]),
        "floored": floored,
    }
    warnings = []
    if floored > MANY_FLOORED:
        step = f"{resolution[0]:.3g}" if resolution[0] == resolution[1] else "{:.3g} and {:.3g}".format(*resolution)
        warnings.append(
            f"{floored:.1%} of the true-class probabilities are 0 or 1 at their resolution ({step}); they are moved"
            " inwards by half of it"
        )
    label = next((name for name in scores.by_attack if name.partition(":")[0] == "lira"), "")
    if not label or not any(part.floored.any() for part in parts_of(attack_input)):
        return told, warnings
    finer = _with_resolution(setting, resolution / FINER)
    half = _mean_auc(attack_input, scores.by_attack[label])
    twentieth = _mean_auc(finer.attack_input, play(attacks[label], label, finer, seed).victims)
    told |= {"lira": label, "lira_auc": half, "lira_auc_finer": twentieth}
    if abs(half - twentieth) > NOTICEABLE:
        warnings.append(
            f"{label}: AUC {half:.3f} if probabilities of 0 or 1 are moved inwards by 1/2 of the resolution, and"
            f" {twentieth:.3f} by 1/20: its result depends on that choice"
        )
    return told, warnings


def _with_resolution(setting: AttackSetting, resolution: np.ndarray) -> AttackSetting:
    """The same attack setting with another resolution of all probabilities."""

    def change(part: Signals) -> Signals:
        return part.with_resolution(resolution) if part.resolution is not None else part

    return replace(setting, attack_input=setting.attack_input.changed(change))


def _mean_auc(attack_input: AttackInput, scores: np.ndarray) -> float:
    """Mean over victims of the AUC of scores (V, N) on ordinary samples."""
    wanted = attack_input.attacked.ordinary[attack_input.victims]
    areas = auc_influence(np.where(wanted, scores, np.nan), attack_input.attacked.member[attack_input.victims]).values
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
