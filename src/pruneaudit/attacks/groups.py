"""Names that stand for several attacks."""

from __future__ import annotations

from collections.abc import Iterable

from pruneaudit.attacks import ATTACKS
from pruneaudit.study import Plugin

ALL = "all"
"""Every attack."""
SCORES = "scores"
"""Every attack that trains no classifier and needs no further copy of a network; they take seconds, not minutes."""
ALONE = "alone"
"""Attacks that need no references."""
OPEN_GROUPS = (ALL, SCORES, ALONE)
"""Groups whose attacks are left out with a warning where they lack an input."""
GROUPS = {
    ALONE: ("loss", "modified_entropy", "attack_p", "quantile", "forgetting"),
    "threshold": (
        *(f"{name}:thresholds=per_class" for name in ("confidence", "entropy", "modified_entropy")),
        "confidence",
    ),
    "advanced": ("lira", "shokri_nn", "nn_top3", "nn_cls", "samia"),
    "wemem": ("confidence", "entropy", "modified_entropy", "nn"),
}
"""`threshold` is mia_prune's: three scores with a threshold per class, and the confidence with one for all classes,
which it calls top1_conf; the others are Pruning_MIA's. Each attack is written as a text, with its options."""


def expand(attacks: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """The attacks, with groups replaced by their members, each once, in order.

    Args:
        attacks: attacks and groups; a group's options are given to each of its attacks.

    Raises:
        UserError: a name is neither an attack nor a group.
    """
    found: dict[str, Plugin] = {}
    for attack in attacks:
        for text in _members(attack.name):
            member = Plugin.model_validate(text)
            member = member.model_copy(update={"options": {**member.options, **attack.options}})
            found[member.label] = member
    return tuple(found.values())


def skips(attacks: Iterable[Plugin]) -> bool:
    """Whether attacks that lack an input are left out, rather than refused."""
    return any(attack.name in OPEN_GROUPS for attack in attacks)


def _members(name: str) -> tuple[str, ...]:
    if name == ALL:
        return ATTACKS.names()
    if name == SCORES:
        attacks = {each: ATTACKS.get(each) for each in ATTACKS.names()}
        return tuple(each for each, kind in attacks.items() if not kind.trains and "forgetting" not in kind.needs)
    if name not in GROUPS and name not in ATTACKS.names():
        raise ATTACKS.unknown(name, tuple(dict.fromkeys((*OPEN_GROUPS, *GROUPS))))
    return GROUPS.get(name, (name,))
