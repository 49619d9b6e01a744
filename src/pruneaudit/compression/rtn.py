"""Rounding to nearest: rounds each weight to the nearest of a few evenly spaced values, one spacing per output channel.

Only weights are rounded: activations, biases and normalisation stay in float32, and BatchNorm statistics do not change.
It needs no data. Rounding per output channel commutes with folding BatchNorm into the weights, so nothing is folded.
Symmetric grids are `narrow` above 2 bits and `full` at 2 bits, where narrow has only three values; formulas in
`grids.py` (Nagel et al. 2021, arXiv 2106.08295, section 2).

In later training the weights stay on their grids: gradients at the rounded weights update unrounded ones
(straight-through, arXiv 1308.3432). Deviation from quantisation-aware training: the grids do not change after
rounding. Published work keeps the first and the last layer at 8 bits; here all layers have the same bits, unless
`exclude` leaves some out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Constraint, Kind
from pruneaudit.compression.mask_options import LayerOptions, Symmetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class Options(LayerOptions):
    """Settings of rounding to nearest."""

    bits: int = Field(ge=2, le=8)
    """Bits per weight."""
    symmetry: Symmetry | None = None
    """The values of the grid: as many below 0 as above; one more below; or from the least to the greatest weight.
    Default: narrow; full at 2 bits."""


class Rtn(Compressor[Options]):
    """Rounds every weight to the nearest value of its channel's grid."""

    degree = "bits"

    def kind(self, options: Options) -> Kind:
        """Codes of few bits."""
        return "codes"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Rounds the weights, in place; see `Compressor.compress`."""
        from pruneaudit.compression.grids import Grids, HoldGrids, grid_for
        from pruneaudit.compression.matrices import channel_axes
        from pruneaudit.compression.selection import prunable_weights

        weights, axes = prunable_weights(model, options.exclude, options.layers), channel_axes(model)
        symmetry: Symmetry = options.symmetry or ("full" if options.bits == 2 else "narrow")
        grids = Grids({name: grid_for(weight, options.bits, symmetry, axes[name]) for name, weight in weights.items()})
        unrounded = {name: weight.detach().clone() for name, weight in weights.items()}
        grids.apply(model)
        return Compressed(model, grids, (HoldGrids(model, grids, unrounded),), {"symmetry": symmetry})

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The grids of a stored state."""
        from pruneaudit.compression.grids import Grids

        return Grids.of(state)


COMPRESSOR = Rtn()
