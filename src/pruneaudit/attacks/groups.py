"""Names that stand for several attacks."""

from __future__ import annotations

from collections.abc import Iterable

from pruneaudit.attacks import ATTACKS
from pruneaudit.study import Plugin

ALL = "all"
"""Every attack."""
SCORES = "scores"
"""Every attack that trains nothing of its own: seconds rather than minutes."""
OPEN_GROUPS = (ALL, SCORES)
"""Groups of whatever there is: attacks in them that lack something are left out with a warning."""
GROUPS = {
    "advanced": ("lira", "shokri_nn", "nn_top3", "nn_cls", "samia"),
    "wemem": ("confidence", "entropy", "modified_entropy", "nn"),
}
"""Pruning_MIA's groups."""


def expand(attacks: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """The attacks with groups replaced by what they stand for, each once, in order.

    Args:
        attacks: attacks and groups; a group's options are given to each of its attacks.
    """
    found: dict[str, Plugin] = {}
    for attack in attacks:
        members = [Plugin(name=name, options=attack.options) for name in _names(attack.name)]
        found |= {member.label: member for member in members}
    return tuple(found.values())


def skips(attacks: Iterable[Plugin]) -> bool:
    """Whether attacks that lack something are left out, rather than refused."""
    return any(attack.name in OPEN_GROUPS for attack in attacks)


def _names(name: str) -> tuple[str, ...]:
    if name == ALL:
        return ATTACKS.names()
    if name == SCORES:
        return tuple(each for each in ATTACKS.names() if not ATTACKS.get(each).trains)
    return GROUPS.get(name, (name,))
