"""The primary attack: the attack whose figures are in the answer, chosen by a rule that does not look at results.

If the best of many attacks is picked afterwards, it looks stronger than it is, by luck. So the rule uses only which
attacks can be played, how many references each victim has, and whether probabilities are floored. LiRA estimates a mean
per sample from the references: with few of them RMIA finds more, especially where leakage is weak; with many the two
are about equal, and LiRA has the longer record. `docs/attacks.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pruneaudit.attacks import ATTACKS

MANY_REFERENCES = 64
"""LiRA goes first if each victim has at least this many references."""
MANY_FLOORED = 0.01
"""If more than this share of true-class probabilities is 0 or 1, LiRA's log-odds depend on where these are floored."""
_BY_STRENGTH = ("rmia", "base", "bavaria", "lira", "calibration", "forgetting", "quantile", "modified_entropy", "loss")
_RECORD = "primary"
"""Its key in `about`."""


@dataclass(frozen=True)
class Primary:
    """The primary attack, and the facts that the rule used."""

    attack: str
    """Its label; empty if no attack can be played."""
    num_references: int
    """The smallest number of references of any victim."""
    floored: bool = False
    """Whether more than 1% of the references' p_y are at the floor of the data's resolution."""

    @classmethod
    def of(cls, labels: Iterable[str], num_references: int, floored: bool = False) -> Primary:
        """The attack that the rule chooses from these; see `attack_by_rule`."""
        return cls(attack_by_rule(labels, num_references, floored), num_references, floored)

    @classmethod
    def recorded(cls, about: Mapping[str, Any]) -> Primary | None:
        """Reads it from a run's `about`; None if it is not there, as in runs of older versions."""
        found = about.get(_RECORD)
        if not isinstance(found, Mapping) or not isinstance(found.get("num_references"), int):
            return None
        return cls(str(found.get("attack") or ""), found["num_references"], bool(found.get("floored")))

    def record(self) -> dict[str, Any]:
        """The part of `about` that `recorded` reads."""
        return {_RECORD: asdict(self)}


def attack_by_rule(labels: Iterable[str], num_references: int, floored: bool = False) -> str:
    """The primary attack among these; empty without any.

    With at least `MANY_REFERENCES` references LiRA, else RMIA, BASE, BaVarIA, LiRA, calibration, forgetting,
    quantile, modified entropy, loss, in this order. Then other attacks that train nothing, then classifiers, then
    attacks on pairs of releases and on structure (not every release has them).
    Among equals a plain "lira" goes before "lira:mode=offline", then the given order decides.

    Args:
        labels: the attacks that can be played.
        num_references: the smallest number of references of any victim; 0: none.
        floored: whether more than 1% of the references' p_y are at the floor of the data's resolution. LiRA's
            statistic then depends on that floor, so RMIA goes first, whatever the number of references.
    """
    order = list(_BY_STRENGTH)
    if num_references >= MANY_REFERENCES and not floored:
        order.remove("lira")
        order.insert(0, "lira")

    def rank(label: str) -> tuple[int, bool]:
        name = label.partition(":")[0]
        return order.index(name) if name in order else len(order) + _distance(name), name != label

    return min(labels, key=rank, default="")


def _distance(name: str) -> int:
    """How far an attack that the rule does not name ranks behind those that it names."""
    if name not in ATTACKS.names():  # findings can come from a plug-in that is not installed here
        return 0
    attack = ATTACKS.get(name)
    return 2 if attack.needs & {"two releases", "structure"} else int(attack.trains)
