"""The name and format of a measured number: its column, its heading, its unit.

Rates are in 0..1 everywhere and become percent only here. Differences of rates are in percentage points.
All texts are ASCII, because they go to the page and to any terminal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_MOST_PLACES = 8
"""Decimals beyond which a limit counts as 0."""


@dataclass(frozen=True)
class Quantity:
    """One column of numbers and how to write them."""

    column: str
    title: str
    is_percent: bool = False
    places: int = 3
    """Decimals, after conversion to percent."""
    level: float | None = None
    """For a TPR: its false-positive rate (0..1)."""
    guessing: float | None = None
    """The value for scores that are independent of membership; None if the quantity is not a leakage figure."""

    def value(self, value: float) -> str:
        """`0.763`, or `12.3%`."""
        return f"{self._scaled(value)}%" if self.is_percent else self._scaled(value)

    def interval(self, low: float, high: float, tells_from: float | None = None) -> str:
        """`[0.751, 0.775]`, without percent signs. Empty if a limit is missing.

        Args:
            low: the lower limit.
            high: the upper limit.
            tells_from: a value, such as guessing; an interval without it gets as many decimals as show that.
        """
        if math.isnan(low) or math.isnan(high):
            return ""
        shown = self if tells_from is None else self._that_tells_from(tells_from, low, high)
        return f"[{shown._scaled(low)}, {shown._scaled(high)}]"

    def difference(self, value: float) -> str:
        """`-0.120`, or `-3.1 points`."""
        return self.signed(value) + (" points" if self.is_percent else "")

    def signed(self, value: float) -> str:
        """`-0.120` or `-3.1`: the number of a difference without its unit."""
        return self._scaled(value, "+")

    def signed_interval(self, low: float, high: float) -> str:
        """`[-0.140, +0.020]`; `[at most +0.020]` if the interval is open below; empty without an upper limit."""
        if math.isnan(low) and not math.isnan(high):
            return f"[at most {self.signed(high)}]"
        if math.isnan(low) or math.isnan(high):
            return ""
        exact = self._that_tells_from(0.0, low, high)
        return f"[{exact.signed(low)}, {exact.signed(high)}]"

    def _that_tells_from(self, value: float, low: float, high: float) -> Quantity:
        """With as many decimals as an interval on one side of a value needs to show that it does not end there."""
        shown = self
        while shown.places < _MOST_PLACES and (low - value) * (high - value) > 0:
            if shown._scaled(value) not in (shown._scaled(low), shown._scaled(high)):
                break
            shown = replace(shown, places=shown.places + 1)
        return shown

    def _scaled(self, value: float, sign: str = "") -> str:
        text = f"{100 * value if self.is_percent else value:{sign}.{self.places}f}"
        # A difference that rounds to zero gets no sign.
        return text.replace("-", "+" if sign else "", 1) if float(text) == 0 else text
