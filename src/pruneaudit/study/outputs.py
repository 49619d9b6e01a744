"""Names of the outputs that an attacker sees: `logits`, `round:2`, `top:1`, `label`, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pruneaudit.core.registry import nearest

Kind = Literal["logits", "probabilities", "round", "top", "label", "label:queries"]
PLAIN: dict[str, Kind] = {
    "logits": "logits",
    "probabilities": "probabilities",
    "label": "label",
    "label:queries": "label:queries",
}
"""The outputs that have no number."""
NUMBERED: dict[str, tuple[Kind, str, int]] = {
    "round": ("round", "number of decimals", 12),
    "top": ("top", "number of classes", 10**6),
}
"""The outputs with a number, each with the meaning of the number and its largest value; the smallest is 1."""
EXPECTED = "logits, probabilities, round:DECIMALS, top:CLASSES, label or label:queries"


@dataclass(frozen=True)
class Outputs:
    """What an attacker sees of a model's outputs.

    Example:
        >>> Outputs.parse("round:2")
        Outputs(kind='round', number=2)
    """

    kind: Kind
    number: int = 0
    """Decimals of `round`, classes of `top`; 0 for all others."""

    @classmethod
    def parse(cls, text: str) -> Outputs:
        """Parses the name of an output.

        Raises:
            ValueError: there is no such output, or its number is out of range.
        """
        name = text.strip()
        if name in PLAIN:
            return cls(PLAIN[name])
        head, colon, number = name.partition(":")
        if head not in NUMBERED:
            close = nearest(name, [*PLAIN, *(f"{numbered}:" for numbered in NUMBERED)])
            raise ValueError(f"got '{text}'{close}, expected {EXPECTED}")
        kind, counted, highest = NUMBERED[head]
        if not (colon and number.isascii() and number.isdecimal() and 1 <= int(number) <= highest):
            raise ValueError(f"got '{text}', expected {head}: and a {counted} from 1 to {highest:,}, such as {head}:1")
        return cls(kind, int(number))

    @property
    def name(self) -> str:
        """The name, as in a study and in results."""
        return f"{self.kind}:{self.number}" if self.number else self.kind
