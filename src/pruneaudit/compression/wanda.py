"""Wanda: removes weights by magnitude times the size of their inputs, row by row, without any training.

Source: Sun et al. 2023 (arXiv 2306.11695). The score of the weight from input j to output i is |w_ij| ||X_j||, where
||X_j|| is the length of input j over all calibration samples (for a convolution: of its place in all unfolded
patches). Each output's weights are ranked by themselves, because their scores do not compare with those of other
outputs; remaining weights are not updated. Layers are done in the order in which the network uses them, and a layer's
inputs come from the network whose earlier layers are pruned already.

Every layer loses exactly `num_removed` weights. Numbers per row that are not whole are rounded so that their running
sum is the nearest whole number: rows of a layer differ by at most one. Deviations: the authors round every row down,
and go block by block of a transformer, where this goes layer by layer. Linear layers and convolutions only.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression.calibrated import CalibratedCompressor
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask_options import CalibrationOptions, SparsityOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(SparsityOptions, CalibrationOptions):
    """Settings of Wanda."""

    num_samples: int = Field(default=128, ge=1)
    """Number of samples, at most half of those available."""


class Wanda(CalibratedCompressor[Options]):
    """Removes the smallest |w| x length of the input of each output's weights."""

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the lowest scores of each row and holds them there; see `Compressor.compress`."""
        import torch

        from pruneaudit.compression.layer_inputs import layers_in_order
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.matrices import channel_axes
        from pruneaudit.compression.selection import prunable_weights

        assert context.samples is not None
        weights = prunable_weights(model, options.exclude, options.layers)
        axes = channel_axes(model)
        removed = {
            name: removed_by_row(w.shape[axes[name]], w.numel() // w.shape[axes[name]], options.sparsity, name)
            for name, w in weights.items()
        }
        kept = {}
        for layer in layers_in_order(model, context.samples, weights):
            weight = weights[layer.name]
            rows = layer.turned(weight.detach()).abs().double()  # (O, ...)
            rows = rows.flatten(1).unflatten(0, (layer.groups, -1))  # (G, O / G, d)
            scores = (rows * layer.norms()[:, None]).flatten(0, 1)  # (O, d)
            stays = keep_in_rows(scores, removed[layer.name])
            kept[layer.name] = layer.turned(stays.view(layer.turned(weight).shape))
            with torch.no_grad():
                weight.mul_(kept[layer.name])
        return held(model, kept)


def removed_by_row(num_rows: int, row_length: int, sparsity: float, layer: str) -> list[int]:
    """How many weights each row of a layer loses; in total `num_removed` of the layer.

    Args:
        num_rows: number of rows.
        row_length: weights in each.
        sparsity: fraction to remove, in (0, 1).
        layer: its name, for messages.

    Raises:
        UserError: the sparsity leaves no weight in the layer.

    Example:
        >>> removed_by_row(4, 9, 0.5, "conv")
        [5, 4, 5, 4]
    """
    from pruneaudit.compression.selection import num_removed

    num_removed(num_rows * row_length, sparsity, layer)
    sums = [math.floor(sparsity * (row_length * row) + 0.5) for row in range(num_rows + 1)]
    return [after - before for before, after in pairwise(sums)]


def keep_in_rows(scores: Tensor, removed: list[int]) -> Tensor:
    """Which weights stay when the lowest scores of each row go; among equal ones, the first go first.

    Args:
        scores: (O, d).
        removed: how many weights each row loses.

    Returns:
        (O, d) bool.
    """
    import torch

    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, places)
    kept: Tensor = ranks >= torch.tensor(removed, device=scores.device)[:, None]
    return kept


COMPRESSOR = Wanda()
