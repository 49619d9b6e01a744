"""What a weight is worth: scores by which methods rank (higher = kept longer)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def magnitude(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|w| of every weight, in the weights' shapes."""
    return {name: weight.detach().abs() for name, weight in weights.items()}


def magnitude_of_kept(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|w| of the weights that `masks` (same shapes and devices; nonzero = kept) keep, and -1 of the removed ones.

    Ranked so, what is removed stays removed, even beside kept weights that are exactly zero.
    """
    return {name: score.masked_fill(masks[name] == 0, -1.0) for name, score in magnitude(weights).items()}


def chance(weights: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """A random number in [0, 1) per weight, in the weights' shapes, on the CPU; float64, so that none are equal."""
    return {
        name: torch.rand(weight.shape, generator=generator, dtype=torch.float64) for name, weight in weights.items()
    }
