"""Quantisation-aware training: the network trains with rounded weights, and its grids follow the weights.

Straight-through (arXiv 1308.3432, 1712.05877): each step takes the gradient at the rounded weights and applies it to
unrounded ones, on which momentum and weight decay act. After the step the grids are chosen anew from the unrounded
weights, and these are rounded (`scale = "step"`); `scale = "fixed"` keeps the grids of the beginning, which is `rtn`
with training. Where a weight lies outside its grid, its gradient is 0; ternary weights always learn. Outside the
optimizer's step the network always has rounded weights; in this state it is evaluated, selected and released.

It begins with the parent's weights, rounded as `rtn` rounds them. Only weights are rounded. BatchNorm statistics are
frozen in the last third of the training: while weights still jump between codes, these statistics are noisy.

Deviations: no learned step sizes (arXiv 1902.08153). A release that starts from this one keeps its final grids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Constraint, Kind
from pruneaudit.compression.grid_options import GridOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class Options(GridOptions):
    """Settings of quantisation-aware training."""

    scale: Literal["step", "fixed"] = "step"
    """Choose new grids after every step (`step`), or keep those of the beginning (`fixed`)."""
    freeze_bn_at: float = Field(default=2 / 3, ge=0, le=1)
    """Fraction of the training after which BatchNorm statistics no longer change; 1: they change to the end."""


class Qat(Compressor[Options]):
    """Trains the network that rounding gives."""

    degree = "bits"

    def kind(self, options: Options) -> Kind:
        """Codes of few bits."""
        return "codes"

    def works_in_training(self, options: Options) -> bool:
        """Without training it would be `rtn`."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Rounds the weights, in place; the hooks train them. See `Compressor.compress`."""
        from pruneaudit.compression.grid_rules import grids_for, rules_for
        from pruneaudit.compression.grids import Grids, HoldGrids
        from pruneaudit.compression.quantised_training import FreezeBatchNorm, MovingGrids
        from pruneaudit.compression.selection import prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        grids = Grids(grids_for(model, weights, options))
        unrounded = {name: weight.detach().clone() for name, weight in weights.items()}
        grids.apply(model)
        made, freeze = Compressed(model, grids, (), options.described), FreezeBatchNorm(options.freeze_bn_at)
        if options.scale == "fixed":
            made.hooks = (freeze, HoldGrids(model, grids, unrounded))
        else:
            made.hooks = (freeze, MovingGrids(made, rules_for(model, weights, options), grids, unrounded))
        return made

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The grids of a stored state."""
        from pruneaudit.compression.grids import Grids

        return Grids.of(state)


COMPRESSOR = Qat()
