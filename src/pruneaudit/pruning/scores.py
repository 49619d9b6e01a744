"""What a weight is worth: scores by which methods rank (higher = kept longer)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def magnitude(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|w| of every weight, in the weights' shapes."""
    return {name: weight.detach().abs() for name, weight in weights.items()}
