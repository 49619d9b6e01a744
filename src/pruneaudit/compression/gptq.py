"""GPTQ: rounds weights one input at a time, and lets the others make up for the error in the layer's outputs.

Source: Frantar et al. 2023 (arXiv 2210.17323), with the order, damping and dead inputs of their code. Layer by layer,
in the network whose earlier layers are already rounded: the second moment of the layer's inputs comes from calibration
samples without labels, then `error_correction` rounds the columns of the weight matrix from left to right. Inputs that
are 0 in all calibration samples have weights of 0 afterwards. Weights that were removed before stay zero, and the
others make up for that too, as in SparseGPT.

Grids are those of `rtn`, chosen from the weights before the layer is rounded; with `granularity = "group"`, when the
group's turn comes, from the weights as they are then, unless `static_groups` is set. `act_order` needs static groups,
because the columns of a group are not consecutive in its order.

Later training begins with the weights as they were just before each was rounded, and keeps the grids.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from pruneaudit.compression.calibrated import CalibratedCompressor
from pruneaudit.compression.compressor import Compressed, CompressionContext, Constraint, Kind
from pruneaudit.compression.grid_options import GridOptions
from pruneaudit.compression.mask_options import CalibrationOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

DAMPING = 0.01


class Options(GridOptions, CalibrationOptions):
    """Settings of GPTQ."""

    damping: float = Field(default=DAMPING, gt=0)
    """Damping, as a fraction of the mean square of an input."""
    act_order: bool = False
    """Round the inputs with the largest mean square first."""
    static_groups: bool = False
    """Choose the scales of all groups before the layer is rounded."""

    @model_validator(mode="after")
    def _has_groups(self) -> Options:
        if self.static_groups and self.granularity != "group":
            raise ValueError(f"got static_groups with granularity = '{self.granularity}'; use granularity = 'group'")
        return self


class Gptq(CalibratedCompressor[Options]):
    """Rounds weights to grids with error correction."""

    degree = "bits"

    def kind(self, options: Options) -> Kind:
        """Codes of few bits."""
        return "codes"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Rounds the weights, in place; see `Compressor.compress`."""
        import torch

        from pruneaudit.compression.corrected_grids import ColumnOrder, rounded_with_correction
        from pruneaudit.compression.error_correction import damped
        from pruneaudit.compression.grid_rules import rules_for
        from pruneaudit.compression.grids import Grids, HoldGrids
        from pruneaudit.compression.layer_inputs import layers_in_order
        from pruneaudit.compression.selection import prunable_weights

        assert context.samples is not None
        weights = prunable_weights(model, options.exclude, options.layers)
        rules = rules_for(model, weights, options)
        order = ColumnOrder(options.act_order, options.static_groups or options.act_order)
        grids, unrounded = {}, {}
        for layer in layers_in_order(model, context.samples, weights):
            kept = None if context.masks is None else context.masks.get(layer.name)
            kept = None if kept is None else layer.turned(kept)
            weight = layer.turned(weights[layer.name])
            hessian, dead = damped(layer.moment(), options.damping, layer.name)
            found = rounded_with_correction(weight, kept, hessian, dead, rules[layer.name], order)
            grids[layer.name] = replace(found.grid, axis=layer.axis)
            unrounded[layer.name] = layer.turned(found.unrounded)
            with torch.no_grad():
                weight.copy_(found.rounded)
        in_order = Grids({name: grids[name] for name in weights})
        return Compressed(model, in_order, (HoldGrids(model, in_order, unrounded),), options.described)

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The grids of a stored state."""
        from pruneaudit.compression.grids import Grids

        return Grids.of(state)


COMPRESSOR = Gptq()
