"""Pruning by the norm of filters, for any norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruneaudit.compression._channel_options import ChannelOptions
from pruneaudit.compression.pruner import Pruner, Pruning, Workshop

if TYPE_CHECKING:
    from torch import nn


class Options(ChannelOptions):
    """Settings of pruning by the norm of filters."""

    scope: Literal["layerwise", "global"] = "layerwise"
    """Remove the same fraction of each layer's channels, or rank all together, relative to their layer's mean."""


class FilterNorm(Pruner):
    """Removes the filters, or the hidden units, of the lowest norm."""

    Options = Options
    semantics_version = 2  # in 1, networks that reorder channels lost those of others
    norm: ClassVar[Literal[1, 2]]
    """Which norm: L1 or L2."""

    def changes_architecture(self, options: Any) -> bool:
        """The preset removes nothing."""
        return bool(options.preset == "none")

    def prune(self, model: nn.Module, sparsity: float, options: Any, workshop: Workshop) -> Pruning:
        """A smaller network or, with the preset, a masked one; see `Pruner.prune`."""
        from pruneaudit.compression.channel_masks import filter_masks
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.structured import remove_channels

        if options.preset == "mia_prune":
            return held(model, filter_masks(model, sparsity, self.norm))
        smaller, structure = remove_channels(
            model,
            workshop.example,
            "l1" if self.norm == 1 else "l2",
            sparsity,
            options.target,
            options.scope,
            options.exclude,
            options.max_channel_sparsity,
        )
        return Pruning(smaller, structure=structure)
