"""Checks requests about families: the sets of releases, and attacks in addition to the joint one."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.families import ATTACK, JointAttack


def check_families(settings: Sequence[AttackSetting], families: Sequence[Sequence[str]]) -> None:
    """Refuses families that cannot be attacked, before anything is computed.

    Args:
        settings: the attack settings of all releases.
        families: sets of releases.

    Raises:
        UserError: a release is missing, or lacks references.
    """
    for family in families:
        JointAttack.of(settings, family, (), 0)


def rival_attacks(asked: Sequence[str]) -> dict[str, Attack]:
    """Attacks to play on whole families for comparison, by label.

    Args:
        asked: names such as "pair_nn" or "compleak_mr:max_rows=4000".

    Raises:
        UserError: an attack is unknown, sees one release alone, or is the joint attack itself.
    """
    found = ready(asked) if asked else {}
    for label, attack in found.items():
        is_joint = label.partition(":")[0] == ATTACK
        if is_joint or "two releases" not in attack.needs:
            why = "is the joint attack itself" if is_joint else "sees one release alone"
            raise UserError(f"attacks: got '{label}', but it {why}; expected some of: {', '.join(_fit())}")
    return found


def _fit() -> list[str]:
    return [name for name in ATTACKS.names() if name != ATTACK and "two releases" in ATTACKS.get(name).needs]
