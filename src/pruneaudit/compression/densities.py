"""Densities: how many weights each layer keeps when a method does not rank all layers together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from torch import Tensor

from pruneaudit.compression.mask_options import DensityOptions
from pruneaudit.compression.selection import num_removed, select_counts, select_highest
from pruneaudit.core.errors import UserError


def num_removed_in(shapes: Mapping[str, Sequence[int]], sparsity: float, densities: str) -> dict[str, int]:
    """How many weights each layer loses.

    ERK (arXiv 1707.04780, with kernels 1911.11134): the density of a layer of shape (o, i, h, w) is
    eps (o + i + h + w) / (o i h w). A layer with a density above 1 stays whole, and eps is solved again for the others,
    so that the sparsity of all layers together is what was asked: `num_removed` of all weights, exactly. The
    fractions of weights that this leaves over go to the layers with the largest ones, the first of equals.
    A depthwise or 1x1 convolution is a small layer and stays whole at high sparsity.

    Args:
        shapes: the shape of each weight, by parameter name.
        sparsity: fraction to remove, in [0, 1).
        densities: `uniform` (the nearest whole number of each layer) or `erk`.

    Raises:
        UserError: the sparsity is out of range, or leaves no weight in a layer.

    Example:
        >>> num_removed_in({"first": (8, 1, 3, 3), "second": (16, 8, 3, 3)}, 0.5, "erk")
        {'first': 0, 'second': 612}
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    if densities == "uniform":
        return {name: num_removed(size, sparsity, name) for name, size in sizes.items()}
    num_kept = sum(sizes.values()) - num_removed(sum(sizes.values()), sparsity)
    whole: set[str] = set()
    while len(whole) < len(sizes):
        left = num_kept - sum(sizes[name] for name in whole)
        eps = Fraction(left, sum(sum(shape) for name, shape in shapes.items() if name not in whole))
        above = {name for name in sizes.keys() - whole if eps * sum(shapes[name]) > sizes[name]}
        if not above:
            break
        whole |= above
    asked = {name: eps * sum(shapes[name]) if name not in whole else Fraction(sizes[name]) for name in sizes}
    kept = {name: math.floor(number) for name, number in asked.items()}
    by_fraction = sorted(sizes, key=lambda name: kept[name] - asked[name])  # stable: the first of equals comes first
    for name in by_fraction[: num_kept - sum(kept.values())]:
        kept[name] += 1
    for name, number in kept.items():
        if number == 0:
            raise UserError(
                f"sparsity {sparsity:g} leaves none of {sizes[name]:,} weights of {name} by ERK densities; use a lower"
                " one, or exclude that layer"
            )
    return {name: sizes[name] - kept[name] for name in sizes}


def select_by(scores: Mapping[str, Tensor], options: DensityOptions) -> dict[str, Tensor]:
    """Which weights stay when the lowest scores go: all ranked together, or layer by layer at densities.

    Args:
        scores: the score of each weight, by parameter name, in the weights' shapes.
        options: sparsity, scope and densities.

    Returns:
        Bool by parameter name, on the scores' device; ties as in `select_highest`.
    """
    if options.scope == "global":
        return select_highest(scores, options.sparsity, "global")
    shapes = {name: score.shape for name, score in scores.items()}
    return select_counts(scores, num_removed_in(shapes, options.sparsity, options.densities))
