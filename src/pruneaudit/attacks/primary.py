"""The primary attack: the one whose figures stand in the answer, chosen by a rule that knows no result.

The best of many attacks, picked afterwards, looks stronger by luck. So the rule reads only which attacks can be played
and how many references each victim has. LiRA estimates a mean per sample from the references: with few of them RMIA
finds more, most of all where leakage is weak; with many of them the two are about equal, and LiRA has the longer
record. `docs/attacks.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pruneaudit.attacks import ATTACKS

MANY_REFERENCES = 64
"""References of each victim from which on LiRA goes first."""
MANY_FLOORED = 0.01
"""Share of true-class probabilities of 0 or 1 above which LiRA's log-odds rest on where these are floored."""
_BY_STRENGTH = ("rmia", "base", "bavaria", "lira", "calibration", "modified_entropy", "loss")
_RECORD = "primary"
"""Where `about` has it."""


@dataclass(frozen=True)
class Primary:
    """The primary attack, and what the rule knew."""

    attack: str
    """Its label; empty where no attack can be played."""
    num_references: int
    """References of the victim that has fewest."""
    floored: bool = False
    """More than 1% of the references' p_y stand at the floor of the data's resolution."""

    @classmethod
    def of(cls, labels: Iterable[str], num_references: int, floored: bool = False) -> Primary:
        """The attack that the rule chooses of these; see `attack_by_rule`."""
        return cls(attack_by_rule(labels, num_references, floored), num_references, floored)

    @classmethod
    def recorded(cls, about: Mapping[str, Any]) -> Primary | None:
        """What a run wrote into its `about`; None where it wrote nothing, as older versions did."""
        found = about.get(_RECORD)
        if not isinstance(found, Mapping) or not isinstance(found.get("num_references"), int):
            return None
        return cls(str(found.get("attack") or ""), found["num_references"], bool(found.get("floored")))

    def record(self) -> dict[str, Any]:
        """The part of `about` that `recorded` reads."""
        return {_RECORD: asdict(self)}


def attack_by_rule(labels: Iterable[str], num_references: int, floored: bool = False) -> str:
    """The primary attack among these; empty without any.

    LiRA from `MANY_REFERENCES` references on, else RMIA, BASE, BaVarIA, LiRA, calibration, modified entropy, loss. Then
    other attacks that train nothing, then those that learn, then those on pairs of releases (they cannot attack a
    release alone), those that are only a lower bound last. Among equals a plain "lira" goes before "lira:mode=offline",
    then the order that was given decides.

    Args:
        labels: the attacks that can be played.
        num_references: references of the victim that has fewest; 0: none.
        floored: more than 1% of the references' p_y stand at the floor of the data's resolution. LiRA's statistic
            then depends on where the floor is set, so RMIA goes first whatever the number of references.
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
    """How far behind the attacks of the rule another one stands."""
    if name not in ATTACKS.names():  # the findings may come from a plug-in that is not installed here
        return 0
    attack = ATTACKS.get(name)
    if attack.is_lower_bound:
        return 3
    return 2 if "two releases" in attack.needs else int(attack.trains)
