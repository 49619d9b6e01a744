"""Names that stand for several attacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pruneaudit.attacks import ATTACKS
from pruneaudit.study import Plugin

ALL = "all"
"""Every attack."""
SCORES = "scores"
"""Every attack that trains nothing of its own: seconds rather than minutes."""
OPEN_GROUPS = (ALL, SCORES)
"""Groups of whatever there is: attacks in them that lack something are left out with a warning."""
GROUPS = {
    "threshold": (
        *(f"{name}:thresholds=per_class" for name in ("confidence", "entropy", "modified_entropy")),
        "confidence",
    ),
    "advanced": ("lira", "shokri_nn", "nn_top3", "nn_cls", "samia"),
    "wemem": ("confidence", "entropy", "modified_entropy", "nn"),
}
"""`threshold` is mia_prune's: three scores with a threshold per class, and the confidence with one for all classes,
which it calls top1_conf; the others are Pruning_MIA's. An attack stands there as a text, with options of its own."""


def expand(attacks: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """The attacks with groups replaced by what they stand for, each once, in order.

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
    """Whether attacks that lack something are left out, rather than refused."""
    return any(attack.name in OPEN_GROUPS for attack in attacks)


def _members(name: str) -> tuple[str, ...]:
    if name == ALL:
        return ATTACKS.names()
    if name == SCORES:
        return tuple(each for each in ATTACKS.names() if not ATTACKS.get(each).trains)
    if name not in GROUPS and name not in ATTACKS.names():
        raise ATTACKS.unknown(name, (*OPEN_GROUPS, *GROUPS))
    return GROUPS.get(name, (name,))


def is_lower_bound(label: str) -> bool:
    """Whether the attack behind a label is no more than a lower bound of what it sees; False for unknown ones."""
    name = label.partition(":")[0]
    return name in ATTACKS.names() and ATTACKS.get(name).is_lower_bound


MANY_FLOORED = 0.01
"""Share of true-class probabilities of 0 or 1 above which LiRA's log-odds rest on where these are floored."""


def floored_in(about: Mapping[str, Any]) -> float:
    """The share of floored probabilities that an audit recorded in its `about`; 0 where logits were given."""
    return float((about.get("probabilities") or {}).get("floored", 0.0))


def declared_attack(labels: Iterable[str], floored: float = 0.0) -> str:
    """The attack whose leakage is shown, by a rule that knows no result: LiRA, else RMIA, else the first declared.

    Where many probabilities are floored RMIA goes before LiRA. A plain "lira" goes before "lira:mode=offline"; empty
    without attacks.

    Args:
        labels: the attacks, as they were declared.
        floored: share of true-class probabilities that are 0 or 1 to their resolution (`View.share_floored`).
    """
    declared = sorted(labels, key=is_lower_bound)  # stable: lower bounds last
    for name in ("rmia", "lira") if floored > MANY_FLOORED else ("lira", "rmia"):
        named = [label for label in declared if label.partition(":")[0] == name]
        if named:
            return name if name in named else named[0]
    return declared[0] if declared else ""
