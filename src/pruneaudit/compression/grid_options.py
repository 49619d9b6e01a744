"""Settings of grids for weights, shared by the methods that round them; imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pruneaudit.compression.mask_options import LayerOptions, Symmetry

TERNARY = "ternary"
LEAST_BITS, MOST_BITS = 2, 8
GROUP_SIZE = 32


def _bits(given: Any) -> Any:
    is_whole = isinstance(given, int | float) and not isinstance(given, bool) and given == int(given)
    if given == TERNARY or (is_whole and LEAST_BITS <= given <= MOST_BITS):
        return given
    raise PydanticCustomError("bits", f"a whole number from {LEAST_BITS} to {MOST_BITS}, or '{TERNARY}'")


Bits = Annotated[int | Literal["ternary"], BeforeValidator(_bits)]
"""Bits of a code, or the three values -s, 0 and s."""


class GridOptions(LayerOptions):
    """Which values the weights can have."""

    bits: Bits
    """Bits per weight, 2 to 8, or `ternary`: the three values -s, 0 and s (log2 3 = 1.58 bits)."""
    symmetry: Symmetry | None = None
    """The values of the grid: as many below 0 as above; one more below; or from the least to the greatest weight.
    Default: narrow; full at 2 bits."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """Weights that share a scale: the whole tensor, an output channel, or `group_size` weights of an output channel."""
    group_size: int = Field(default=GROUP_SIZE, ge=1)
    """Weights of one group, in the order input channel, row, column; the last group of a channel can be shorter."""
    clip: Literal["none", "mse"] = "none"
    """Range of a scale: all its weights, or the one of 80 smaller ranges that gives the least error (norm 2.4)."""
    ternary: Literal["twn", "absmean"] = "twn"
    """Threshold and scale of ternary weights: 0.7 times the mean of |w|, and the mean of the |w| above it; or half of
    the mean of |w|, and that mean."""
    first_last_bits: int | None = Field(default=None, ge=LEAST_BITS, le=MOST_BITS)
    """Bits of the first and of the last weight matrix of the network; published work uses 8. Default: `bits`."""

    @model_validator(mode="before")
    @classmethod
    def _with_groups(cls, values: Any) -> Any:
        """A size of groups alone means groups."""
        has_size = isinstance(values, dict) and "group_size" in values and "granularity" not in values
        return {**values, "granularity": "group"} if has_size else values

    @model_validator(mode="after")
    def _has_effect(self) -> GridOptions:
        if self.bits == TERNARY and self.symmetry is not None:
            raise ValueError(f"got symmetry = '{self.symmetry}' with bits = 'ternary', whose values are -s, 0, s")
        if self.bits == TERNARY and self.clip != "none":
            raise ValueError(f"got clip = '{self.clip}' with bits = 'ternary', whose threshold sets the range")
        if self.bits != TERNARY and self.ternary != "twn":
            raise ValueError(f"got ternary = '{self.ternary}' with bits = {self.bits}; use bits = 'ternary'")
        if self.granularity != "group" and self.group_size != GROUP_SIZE:
            raise ValueError(
                f"got group_size = {self.group_size} with granularity = '{self.granularity}'; use granularity = 'group'"
            )
        return self

    @property
    def codes(self) -> Symmetry | None:
        """The values of the grid, with the default filled in; None if they are ternary."""
        if self.bits == TERNARY:
            return None
        return self.symmetry or default_symmetry(int(self.bits))

    @property
    def described(self) -> dict[str, str]:
        """The values of the grid, for the description of a release."""
        return {"symmetry": self.codes} if self.codes else {"ternary": self.ternary}


def default_symmetry(bits: int) -> Symmetry:
    """The grid's values unless they are chosen: `narrow` would have only three values at 2 bits."""
    return "full" if bits == 2 else "narrow"
