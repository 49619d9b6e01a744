"""RigL: sparse from the first step to the last; the mask moves to where the gradient is largest.

Source: Evci et al. 2020 (arXiv 1911.11134). Training starts from initial weights under a random mask, with ERK
densities unless asked otherwise. Every `period_steps` steps each layer drops the fraction f of its weights that are
nearest to zero, and grows as many where the gradient of that step's batch, taken without the mask, is largest; f falls
from `drop` to 0 along a cosine until the fraction `until` of the training. So every layer keeps its number of weights.
Weights that were just dropped may grow again, and then keep their values, as in the authors' code; others start at 0
with no momentum.

Deviation: the mask moves after the optimizer's step; in the paper it moves instead of that step. All releases then
have equally many steps, and a defence that changes gradients (DP-SGD) changes those that choose weights. An epoch
that ends before newly grown weights have moved is never kept as the best on the dev set: their zeros would count as
removed. With uniform densities the paper leaves the first layer whole: `exclude = ["first_conv"]` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import Densities, SparsityOptions
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import nn


class Options(SparsityOptions):
    """Settings of RigL."""

    densities: Densities = "erk"
    """The number of weights in each layer: by ERK (arXiv 1911.11134), or the same fraction of each."""
    period_steps: int = Field(default=100, ge=1)
    """Steps between two moves of the mask."""
    drop: float = Field(default=0.3, gt=0, lt=1)
    """Fraction of each layer's weights that the first move replaces."""
    until: float = Field(default=0.75, gt=0, le=1)
    """Fraction of the training after which the mask no longer moves."""


class Rigl(Compressor[Options]):
    """Drops weights of small magnitude and grows those with large gradients, during training."""

    def origin(self, options: Options) -> Origin:
        """Always new weights."""
        return "init"

    def works_in_training(self, options: Options) -> bool:
        """The mask moves during training."""
        return True

    def is_done_by_training(self, options: Options) -> bool:
        """The mask moves during training."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Draws the first mask; the hook moves it in training; see `Compressor.compress`."""
        from pruneaudit.compression.densities import num_removed_in
        from pruneaudit.compression.drop_and_grow import DropAndGrow
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.schedules import Replacing
        from pruneaudit.compression.selection import chance, prunable_weights, select_counts

        context.restart(model)
        weights = prunable_weights(model, options.exclude, options.layers)
        shapes = {name: weight.shape for name, weight in weights.items()}
        removed = num_removed_in(shapes, options.sparsity, options.densities)
        pruning = held(model, select_counts(chance(weights, context.generator), removed))
        schedule = Replacing(options.drop, options.until, options.period_steps)
        pruning.hooks = (DropAndGrow(pruning, weights, schedule),)
        return pruning


COMPRESSOR = Rigl()
