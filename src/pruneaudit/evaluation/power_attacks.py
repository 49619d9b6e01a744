"""Chooses the attacks that have a curve of power against the number of references."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.groups import skips
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import named, ready, why_left_out

USUAL = ("lira", "rmia")
"""The attacks of curves where none are named; offline where no reference was trained on samples of the victims."""


def power_attacks(asked: Sequence[str], settings: Sequence[AttackSetting]) -> tuple[dict[str, Attack], list[str]]:
    """The attacks to play with fewer references, by label, and notes on those left out.

    Args:
        asked: names and groups, as for `audit`; none: LiRA and RMIA.
        settings: the attack settings.

    Raises:
        UserError: an attack is unknown, uses no references, trains networks or lacks an input; or none can be played.
    """
    if not asked:
        return _usual(settings)
    found, notes, skip = {}, [], skips(named(asked))
    for label, attack in ready(asked).items():
        why = _unfit(label, attack) or why_left_out(label, attack, settings, skip)
        if why and not skip:
            raise UserError(f"attacks: {why}; expected attacks such as {', '.join(USUAL)}")
        if why:
            notes.append(why)
        else:
            found[label] = attack
    if not found:
        raise UserError(f"attacks: got {', '.join(asked)}, but none of them can be played with fewer references")
    return found, notes


def _unfit(label: str, attack: Attack) -> str:
    """Why an attack has no curve; empty if it has one."""
    if not attack.uses_references:
        return f"attack '{label}' uses no references, so their number does not matter"
    if attack.trains:
        return f"attack '{label}' would have to train its networks again for each number of references"
    return ""


def _usual(settings: Sequence[AttackSetting]) -> tuple[dict[str, Attack], list[str]]:
    found: dict[str, Attack] = {}
    lacks = ""
    for name in USUAL:
        for label in (name, f"{name}:mode=offline"):
            attack = next(iter(ready([label]).values()))
            lacks = next((lack for one in settings if (lack := attack.lacks(one.attack_input))), "")
            if not lacks:
                found[label] = attack
                break
    if not found:
        raise UserError(f"power: got no attack that uses references, because they lack {lacks}")
    return found, []
