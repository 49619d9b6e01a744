"""The warning for audits in which no attack compared the victims with references.

Such attacks use only one network's answers. They are the weakest, and they say little about which of two networks
leaks more: a network that is confident about everything looks leaky, and an unsure one looks private.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.primary import Primary

WRONG_WAY = (
    "A comparison of two networks by such attacks can point the wrong way: in one measured case the AUC of loss fell "
    "from 0.558 to 0.549, while that of RMIA with 8 references rose from 0.653 to 0.670."
)
"""Why they cannot compare two networks."""
WEAKEST = "Attacks without references are the weakest ones."


@dataclass(frozen=True)
class ReferenceFree:
    """An audit in which no attack used references."""

    num_networks: int
    """Number of attacked networks; 0: unknown."""
    were_given: bool
    """Whether there were references, but no attack that uses them."""

    @property
    def fact(self) -> str:
        """What was attacked, and that no references were used."""
        networks = "One network was" if self.num_networks == 1 else f"{self.num_networks or 'The'} networks were"
        if self.were_given:
            return f"{networks} attacked, but none of these attacks uses the references."
        return f"{networks} attacked, and the attacker had no references."

    @property
    def advice(self) -> str:
        """How to get a stronger audit."""
        if self.were_given:
            return "Add an attack that uses references, such as rmia."
        return (
            "Train references with pruneaudit audit-model, or give predictions of other networks that were trained in "
            "the same way on other samples: pruneaudit audit FILE --references OTHERS (in Python: references=)."
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences of the warning, in order."""
        return self.fact, WEAKEST, WRONG_WAY, self.advice


def reference_free(attacks: Collection[str], num_networks: int, about: Mapping[str, Any]) -> ReferenceFree | None:
    """The warning for these attacks; None if one of them used references, or there are none.

    Args:
        attacks: labels of the attacks that gave figures.
        num_networks: number of attacked networks; 0: not known.
        about: the results' `about`; older runs did not record the number of references.
    """
    primary = Primary.recorded(about)
    had_none = primary is not None and primary.num_references == 0
    if not attacks or (not had_none and any(_uses_references(label.partition(":")[0]) for label in attacks)):
        return None
    return ReferenceFree(num_networks, were_given=not had_none)


def _uses_references(name: str) -> bool:
    """Whether it compares with references or a copy; assumed of an attack that is not installed."""
    return name not in ATTACKS.names() or bool({"references", "forgetting"} & ATTACKS.get(name).needs)
