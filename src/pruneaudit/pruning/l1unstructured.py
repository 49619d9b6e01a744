"""Magnitude pruning: the weights nearest to zero become zero; the rest are fine-tuned.

Source: Han et al. 2015 (arXiv 1506.02626), in one shot. Counts are exact: the nearest whole number
to sparsity x prunable weights goes, also under ties. Biases and normalisation layers stay.
Deviation from mia_prune (arXiv 2202.03335), which prunes layer by layer: here `scope` is `global`
unless set, as in most of the pruning literature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pruneaudit import options
from pruneaudit.pruning.pruner import Pruner, Pruning, Workshop

if TYPE_CHECKING:
    from torch import nn


class Options(options.Options):
    """Settings of magnitude pruning."""

    scope: Literal["global", "layerwise"] = "global"
    """Rank all weights together, or remove the same fraction of each layer."""
    exclude: tuple[str, ...] = ()
    """Layers left alone: module names, `first_conv`, `classifier`."""


class L1Unstructured(Pruner):
    """Removes the smallest |w| of convolutional and linear layers."""

    Options = Options

    def prune(self, model: nn.Module, sparsity: float, options: Any, workshop: Workshop) -> Pruning:
        """Zeroes the smallest weights and holds them there; see `Pruner.prune`."""
        from pruneaudit.pruning.mask import HoldMask
        from pruneaudit.pruning.scores import magnitude
        from pruneaudit.pruning.selection import keep_highest, prunable_weights

        masks = keep_highest(magnitude(prunable_weights(model, options.exclude)), sparsity, options.scope)
        masks.apply(model)
        return Pruning(model, masks, (HoldMask(model, masks),))


PRUNER = L1Unstructured()
