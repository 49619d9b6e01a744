"""Random pruning: a baseline that shows the effect of sparsity alone, without a choice of weights.

Removes randomly chosen weights, as many as magnitude pruning, and keeps them at zero while the rest are
fine-tuned (as in Blalock et al. 2020, arXiv 2003.03033). One order is drawn per model, so a higher
sparsity removes the same weights and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import DensityOptions

if TYPE_CHECKING:
    from torch import nn


class Options(DensityOptions):
    """Settings of random pruning."""


class Random(Compressor[Options]):
    """Removes randomly chosen weights of all matrices."""

    def chooses_blindly(self, options: Options) -> bool:
        """True."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes random weights and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.densities import select_by
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import chance, prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        return held(model, select_by(chance(weights, context.generator), options))


COMPRESSOR = Random()
