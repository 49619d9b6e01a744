"""What must be said where no attack compared the victims with references.

Such attacks look at one network's answers alone. They are the weakest there are, and they say little about which of two
networks leaks more: a network that is sure of everything looks leaky, and one that is unsure looks private.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.primary import Primary

WRONG_WAY = (
    "A comparison of two networks by such attacks can point the wrong way: in one measured case the AUC of loss fell "
    "from 0.558 to 0.549, where RMIA with 8 references rose from 0.653 to 0.670."
)
"""Why no two networks are to be compared by them."""


@dataclass(frozen=True)
class ReferenceFree:
    """An audit in which no attack used references."""

    num_networks: int
    """Networks that were attacked; 0: not known."""
    were_given: bool
    """There were references, and no attack was played that uses them."""

    @property
    def fact(self) -> str:
        """What the attacker had."""
        networks = "One network was" if self.num_networks == 1 else f"{self.num_networks or 'The'} networks were"
        if self.were_given:
            return f"{networks} attacked, and no attack that was played uses the references."
        return f"{networks} attacked, and the attacker had no references."

    @property
    def advice(self) -> str:
        """How to do better."""
        if self.were_given:
            return "Play an attack that uses references, such as rmia."
        return (
            "Give predictions of other networks that were trained alike on other samples: pruneaudit audit FILE "
            "--references OTHERS (in Python: references=)."
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be said."""
        return self.fact, "Attacks without references are the weakest.", WRONG_WAY, self.advice


def reference_free(attacks: Collection[str], num_networks: int, about: Mapping[str, Any]) -> ReferenceFree | None:
    """What is to be said of these attacks; None where one of them used references, or nothing was played.

    Args:
        attacks: labels of the attacks that gave figures.
        num_networks: networks that were attacked; 0: not known.
        about: of the results; older runs did not record how many references there were.
    """
    primary = Primary.recorded(about)
    had_none = primary is not None and primary.num_references == 0
    if not attacks or (not had_none and any(_uses_references(label.partition(":")[0]) for label in attacks)):
        return None
    return ReferenceFree(num_networks, were_given=not had_none)


def _uses_references(name: str) -> bool:
    """Whether its score needs references; an attack that is not installed may."""
    return name not in ATTACKS.names() or "references" in ATTACKS.get(name).needs
