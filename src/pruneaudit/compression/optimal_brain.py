"""SparseGPT and OBC: one-shot pruning that moves the remaining weights to make up for the removed ones.

Both go layer by layer through calibration samples without labels, in the network whose earlier layers are already
pruned, and remove the same fraction of every layer. They share GPTQ's second moments, damping and correction
(`error_correction`), and differ in which weights go:

- `sparsegpt` (Frantar and Alistarh 2023, arXiv 2301.00774) goes through blocks of 128 inputs, removes the weights of
  least w_j^2 / U_jj^2 of the block over all rows, and corrects later inputs.
- `obc` (ExactOBS of Frantar et al. 2022, arXiv 2208.11580) removes the one weight of least w_j^2 / [H^-1]_jj, corrects
  its row, and so on; rows compete for removals.

`obc` is exact, but its work grows with outputs x inputs^3. If this is too much for a layer, it is refused by name.
Deviations: every layer has the same sparsity (OBC's paper can share it out between layers), and N:M patterns are not
offered. Removing the weights of inputs that are 0 in all samples costs nothing, so these go first; the rest of them do
not change. (In SparseGPT's code they become 0, and so the network has more zeros than requested.) Later training holds
the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression.calibrated import CalibratedCompressor
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask_options import CalibrationOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.compression.error_correction import Removal


class Options(CalibrationOptions):
    """Settings of SparseGPT and OBC."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of each layer's weights that become zero."""
    damping: float = Field(default=0.01, gt=0)
    """Damping, as a fraction of the mean square of an input."""


class OptimalBrain(CalibratedCompressor[Options]):
    """Removes weights layer by layer, and corrects the remaining ones."""

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Removes weights, in place; see `Compressor.compress`."""
        import torch

        from pruneaudit.compression.error_correction import Removal, damped, rows_of
        from pruneaudit.compression.layer_inputs import layers_in_order
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import prunable_weights

        assert context.samples is not None
        weights, masks = prunable_weights(model, options.exclude, options.layers), {}
        for layer in layers_in_order(model, context.samples, weights):
            weight = layer.turned(weights[layer.name])  # (outputs, ...)
            hessian, dead = damped(layer.moment(), options.damping, layer.name)
            rows, before = rows_of(weight, layer.groups), None
            if context.masks is not None and layer.name in context.masks:
                before = ~layer.turned(context.masks[layer.name]).to(rows.device).reshape(rows.shape)
            fixed, kept = self.removed(rows, hessian, Removal(layer.name, options.sparsity, dead, before))
            masks[layer.name] = layer.turned(kept.reshape(weight.shape))
            with torch.no_grad():
                weight.copy_(fixed.reshape(weight.shape))
        return held(model, masks)

    def removed(self, rows: Tensor, hessian: Tensor, asked: Removal) -> tuple[Tensor, Tensor]:
        """The remaining weights and the mask; see `error_correction`."""
        raise NotImplementedError


class SparseGpt(OptimalBrain):
    """SparseGPT: layer by layer, removes the weights that matter least for the outputs; the others make up for them."""

    def removed(self, rows: Tensor, hessian: Tensor, asked: Removal) -> tuple[Tensor, Tensor]:
        """The remaining weights and the mask."""
        from pruneaudit.compression.error_correction import removed_by_block, upper_factor

        return removed_by_block(rows, upper_factor(hessian), asked)


class Obc(OptimalBrain):
    """OBC: as SparseGPT, but exact, one weight at a time, and slow."""

    def removed(self, rows: Tensor, hessian: Tensor, asked: Removal) -> tuple[Tensor, Tensor]:
        """The remaining weights and the mask."""
        from pruneaudit.compression.error_correction import least_loss_removed

        return least_loss_removed(rows, hessian, asked)


COMPRESSOR = {"sparsegpt": SparseGpt(), "obc": Obc()}
