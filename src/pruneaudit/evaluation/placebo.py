"""Placebo rows: samples that no model was trained on; half are sent on the path of members, half on that of others.

If members reach the models by another path than non-members (augmented, cropped, in other batches, through another
loader), attacks find that path instead of membership. On placebo rows membership is equal and only the path differs. So
the AUC of "sent as members" against "sent as others" must be 0.5 for every attack.

Every attack of the audit is played once more, with the same draws, on an input in which placebo rows are scored. No
statistic counts them: nulls, pooled variances and tuned constants are those of the audit. If every model has its own
path for each row, attacks that compare with IN and OUT references take the path for membership, as they would with
ordinary samples. If the path of a row is the same for all models, no reference is IN for it, and attacks that have an
offline form are played in that form.

The intervals hold for all attacks and releases of the audit together (Bonferroni), so that 19 of 20 sound audits pass.
"""

# V victims, N samples

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.measure import play
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.metrics import PerVictim, auc_influence, two_way
from pruneaudit.signals.left_out import AS_MEMBERS, with_paths_as_membership, with_placebo_scored

Row = dict[str, Any]
PLACEBO = "placebo"
"""The kind of these rows among sanity checks."""
BANK = "placebo rows"
"""Begins the name of the bank; the release follows."""
EXPECTED = "AUC 0.5: no model was trained on these samples"
FAMILY_ERROR = 0.05
"""Probability that a sound audit fails."""
MIN_ROWS = 30
"""Fewest scored rows of each path, for each victim."""
NOT_ALIKE = "path"
"""The problem of an attack that finds the path."""


@dataclass(frozen=True, eq=False)
class _Found:
    """One attack on the placebo rows of one attack setting."""

    label: str
    bank: str
    areas: PerVictim
    fewest: int


def placebo_checks(found: Audit, attacks: Mapping[str, Attack], seed: int) -> tuple[list[Row], list[Row]]:
    """Plays the attacks of an audit on its placebo rows.

    Args:
        found: the audit.
        attacks: the attacks by label.
        seed: the study's seed.

    Returns:
        A row for each attack and attack setting, and a row with the reason for each that could not be checked. Both
        are empty without placebo rows.
    """
    played: list[_Found] = []
    left_out: list[Row] = []
    for kept in found.settings:
        setting = kept.setting
        if not setting.attack_input.attacked.placebos.any():
            continue
        bank = f"{BANK} of {setting.release}"
        if len(found.settings) > 1 and setting.references:
            bank += f", references {setting.references}"
        attack_input = placebo_input(setting.attack_input)
        for label in kept.by_attack:
            one = _played(attacks[label], label, replace(setting, attack_input=attack_input), seed, bank)
            if one.fewest >= MIN_ROWS:
                played.append(one)
            else:
                reason = f"{one.fewest} rows of a path have a score for each victim, but {MIN_ROWS} are needed"
                left_out.append({"attack": label, "bank": bank, "reason": reason})
    return [_row(one, FAMILY_ERROR / len(played)) for one in played], left_out


def placebo_input(attack_input: AttackInput) -> AttackInput:
    """The attack input in which placebo rows are scored for the victims, and the path stands for membership.

    Args:
        attack_input: of an audit with placebo rows.
    """
    releases = tuple(with_placebo_scored(part) for part in attack_input.releases)
    references = tuple(with_paths_as_membership(part) for part in attack_input.references)
    return AttackInput(releases, references, attack_input.victims, attack_input.allowed)


def _played(attack: Attack, label: str, setting: AttackSetting, seed: int, bank: str) -> _Found:
    attacked, victims = setting.attack_input.attacked, setting.attack_input.victims
    assert attacked.placebo is not None  # the caller has looked
    path = np.broadcast_to(attacked.placebo, attacked.member.shape)[victims]  # (V, N)
    with one_blas_thread():
        scores = play(attack, label, setting, seed).victims
        if np.isnan(scores[path > 0]).all() and (offline := attack.offline) is not None:
            scores = play(offline, label, setting, seed).victims
    counted = np.where(path > 0, scores, np.nan)
    sides = [(~np.isnan(counted) & side).sum(axis=1).min() for side in (path == AS_MEMBERS, path != AS_MEMBERS)]
    return _Found(label, bank, auc_influence(counted, path == AS_MEMBERS), int(min(sides)))


def _row(one: _Found, alpha: float) -> Row:
    auc = two_way(*one.areas, alpha=alpha, num_trials=one.fewest)
    passed = bool(auc.low <= 0.5 <= auc.high)
    return {
        **{"attack": one.label, "bank": one.bank, "kind": PLACEBO},
        **{"auc": float(auc.value), "low": float(auc.low), "high": float(auc.high)},
        **{"expected": EXPECTED, "passed": passed, "problem": "" if passed else NOT_ALIKE},
    }
