"""Static quantisation to 8 bits: int8 weights per output channel, and the inputs of all layers as uint8 codes.

Weights get narrow symmetric grids (codes -127..127), as in `rtn`. Inputs of convolutions and linear layers get one
asymmetric grid per layer (codes 0..255), whose range calibration samples determine in the unrounded network: from the
least to the greatest input, or between percentiles. Biases, normalisation and pooling compute in float32, and so do
sums: integer kernels give the same up to one step (Jacob et al. 2018, arXiv 1712.05877).

Choices that libraries make differently:
- Logits stay float by default. Rounding them too (`output = "int8"`) leaves at most 256 different values, which is a
  defence of its own: compare releases with the same `output`.
- Ranges have all 8 bits, not 7: the reduced ranges of torch's `fbgemm` settings are for CPUs without VNNI.
- BatchNorm is not folded: rounding weights per output channel commutes with folding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.calibrated import CalibratedCompressor
from pruneaudit.compression.compressor import Compressed, CompressionContext, Constraint, Kind
from pruneaudit.compression.mask_options import CalibrationOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class Options(CalibrationOptions):
    """Settings of static quantisation."""

    bits: Literal[8] = 8
    """Bits per weight and per input; only 8, because integer kernels support only 8."""
    percentile: float = Field(default=100, ge=90, le=100)
    """The range of a layer's inputs goes from the (100 - percentile)th to this percentile: 99.999 leaves out rare large
    inputs; 100 covers the least to the greatest."""
    output: Literal["float", "int8"] = "float"
    """Whether logits are float32 or rounded to 256 values."""


class Static8(CalibratedCompressor[Options]):
    """Rounds weights, and in each pass the inputs of all layers."""

    degree = "bits"

    def kind(self, options: Options) -> Kind:
        """Codes of 8 bits."""
        return "codes"

    def changes_architecture(self, options: Options) -> bool:
        """Layers get hooks and buffers."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Rounds the weights and adds the rounding of inputs, in place; see `Compressor.compress`."""
        from pruneaudit.compression.activations import input_ranges, output_range, quantise
        from pruneaudit.compression.grid_rules import grid_for
        from pruneaudit.compression.grids import Grids, HoldGrids
        from pruneaudit.compression.layer_inputs import layers_in_order
        from pruneaudit.compression.matrices import channel_axes
        from pruneaudit.compression.selection import prunable_weights

        assert context.samples is not None
        weights, samples = prunable_weights(model, options.exclude, options.layers), context.samples
        layers = layers_in_order(model, samples, weights)
        ranges = input_ranges(model, samples, layers, options.percentile)
        names = {module: name for name, module in model.named_modules()}
        by_layer = {names[module]: found for each, found in zip(layers, ranges, strict=True) for module in each.layers}
        last, of_output = layers[-1].layers[-1], (0.0, 0.0)
        if options.output == "int8":
            of_output = output_range(model, samples, last, names[last])

        axes = channel_axes(model)
        grids = Grids({name: grid_for(weight, options.bits, "narrow", axes[name]) for name, weight in weights.items()})
        unrounded = {name: weight.detach().clone() for name, weight in weights.items()}
        grids.apply(model)
        grids.structure = quantise(model, by_layer, names[last] if options.output == "int8" else "", of_output)
        described = {"symmetry": "narrow", "output": options.output, "inputs": list(by_layer)}
        return Compressed(model, grids, (HoldGrids(model, grids, unrounded),), described)

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The grids of a stored state, and the record of the layers whose inputs are rounded."""
        from pruneaudit.compression.grids import Grids
        from pruneaudit.compression.state import structure_in
        from pruneaudit.compression.structure import ACTIVATIONS, of_kind

        grids = Grids.of(state)
        grids.structure = of_kind(structure_in(state), ACTIVATIONS)
        return grids


COMPRESSOR = Static8()
