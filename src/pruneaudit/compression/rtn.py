"""Rounding to nearest: rounds each weight to the nearest of a few evenly spaced values.

Only weights are rounded: activations, biases and normalisation stay in float32, and BatchNorm statistics do not change.
It needs no data. Formulas of all grids: `grid_rules.py`.

By default every output channel has a spacing of its own, and all layers have the same bits. Published work often keeps
the first and the last layer at 8 bits (`first_last_bits = 8`): compare releases with the same setting. Rounding by
output channel or group commutes with folding BatchNorm into the weights, so nothing is folded. With
`granularity = "tensor"` it does not: the weights are rounded as the network stores them. A deployment that folds first
rounds other numbers, and most codes differ. To audit such a deployment, fold the network before you compress it.

In later training the weights stay on their grids: gradients at the rounded weights update unrounded ones
(straight-through, arXiv 1308.3432). The grids do not change after rounding; in `qat` they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Constraint, Kind
from pruneaudit.compression.grid_options import GridOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

_FIRST = ("bits", "symmetry", "exclude", "layers")
"""The settings that identities have always held."""


class Options(GridOptions):
    """Settings of rounding to nearest."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out later settings at their defaults: earlier releases keep their identities, and so their runs."""
        fields = type(self).model_fields
        return {key: value for key, value in dumped(self).items() if key in _FIRST or value != fields[key].default}


class Rtn(Compressor[Options]):
    """Rounds every weight to the nearest value of its grid."""

    degree = "bits"

    def kind(self, options: Options) -> Kind:
        """Codes of few bits."""
        return "codes"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Rounds the weights, in place; see `Compressor.compress`."""
        from pruneaudit.compression.grid_rules import grids_for
        from pruneaudit.compression.grids import Grids, HoldGrids
        from pruneaudit.compression.selection import prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        grids = Grids(grids_for(model, weights, options))
        unrounded = {name: weight.detach().clone() for name, weight in weights.items()}
        grids.apply(model)
        return Compressed(model, grids, (HoldGrids(model, grids, unrounded),), options.described)

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The grids of a stored state."""
        from pruneaudit.compression.grids import Grids

        return Grids.of(state)


COMPRESSOR = Rtn()
