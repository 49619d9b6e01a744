"""Magnitude pruning: sets the smallest weights to zero, and fine-tunes the rest.

Source: Han et al. 2015 (arXiv 1506.02626), in one shot. Counts are exact, even with ties: the nearest whole
number to sparsity x prunable weights goes. Biases and normalisation layers stay.

Preset `mia_prune`: the `l1unstructure` of mia_prune (arXiv 2202.03335), which is NNI's LevelPruner. It prunes
every convolutional and linear layer separately, including the first and the last, and removes int(sparsity x weights)
of each. Our own default ranks all layers together, as most of the pruning literature does.
Deviation of the preset: NNI removes all weights up to a threshold, so more with ties; here the count is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import MaskOptions

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.compression.selection import Rounding


class Options(MaskOptions):
    """Settings of magnitude pruning."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"mia_prune": {"scope": "layerwise", "layers": "all", "exclude": ()}}

    preset: Literal["none", "mia_prune"] = "none"
    """The settings of a published system."""


class L1Unstructured(Compressor[Options]):
    """Removes the smallest |w| of all weight matrices."""

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the smallest weights and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import keep_highest, magnitude, prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        return held(model, keep_highest(magnitude(weights), options.sparsity, options.scope, _rounding(options)))

    def trial(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Checks layers and counts: any finite weights can be ranked. See `Compressor.trial`."""
        from pruneaudit.compression.selection import num_removed_in, prunable_weights

        sizes = {
            name: weight.numel() for name, weight in prunable_weights(model, options.exclude, options.layers).items()
        }
        num_removed_in(sizes, options.sparsity, options.scope, _rounding(options))
        return Compressed(model)


def _rounding(options: Options) -> Rounding:
    return "down" if options.preset == "mia_prune" else "nearest"


COMPRESSOR = L1Unstructured()
