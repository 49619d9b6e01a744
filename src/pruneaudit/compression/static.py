"""Static sparse training: fixes the mask before training, and never changes it.

The mask keeps the weights of largest magnitude: of the dense model (`start = "pretrained"`; this is one-shot
magnitude pruning, the same as `l1unstructured`), or of the initial weights, which are then trained from
scratch (`start = "init"`). Sparse training is compared with the second as its lower bound, as in
Lin et al. 2020 (arXiv 2006.07253).

Masking gradients as well would make no difference here: optimizers work element by element, so
a removed weight's gradient never affects a kept weight, and removed weights are set to zero after every step.
Masking only gradients would not be enough: momentum and weight decay would move removed weights.

Preset `pruning_mia`: the method that the Pruning_MIA code calls static. The mask comes from the initial weights, not
from trained ones, under one threshold over all convolutions; linear and normalisation layers stay dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import DensityOptions
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import nn


class Options(DensityOptions):
    """Settings of static sparse training."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "pruning_mia": {
            "densities": "uniform",
            "start": "init",
            "scope": "global",
            "layers": "convolutions",
            "exclude": (),
        }
    }

    start: Literal["pretrained", "init"] = "pretrained"
    """Weights from which the mask is computed and training starts: the dense model's, or the initial ones."""
    preset: Literal["none", "pruning_mia"] = "none"
    """The settings of a published system."""


class Static(Compressor[Options]):
    """Removes the smallest |w| once, before training."""

    def origin(self, options: Options) -> Origin:
        """`init` if the training is from scratch."""
        return "init" if options.start == "init" else "own-dense"

    def works_in_training(self, options: Options) -> bool:
        """True from scratch: untrained weights are not a release, pruned dense weights are."""
        return bool(options.start == "init")

    def chooses_blindly(self, options: Options) -> bool:
        """True from initial weights."""
        return bool(options.start == "init")

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the smallest weights and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.densities import select_by
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import magnitude, prunable_weights

        if options.start == "init":
            context.restart(model)
        weights = prunable_weights(model, options.exclude, options.layers)
        return held(model, select_by(magnitude(weights), options))


COMPRESSOR = Static()
