"""Filter pruning by norm, L1 or L2: removes whole channels, so that the network becomes smaller and faster.

Source: Li et al. 2017 (arXiv 1608.08710), in one shot: filters are ranked within their layer by their norm.
Deviations: channels of layers that are joined by an addition can go too, and so can hidden units.
By default sparsity is the removed fraction of weights, as in every other method, not the
fraction of channels: half of the channels are about three quarters of the weights. Layers that are
added to each other lose the same channels, by the mean of their relative norms.

Preset `mia_prune` (arXiv 2202.03335): int(channels x sparsity) filters of each Conv2d are masked
together with their biases. BatchNorm is not masked, so a pruned channel still gives a constant. Linear
layers stay whole, and nothing is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pruneaudit.compression._channel_options import ChannelOptions
from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Kind

if TYPE_CHECKING:
    from torch import nn


class Options(ChannelOptions):
    """Settings of pruning by the norm of filters."""

    scope: Literal["layerwise", "global"] = "layerwise"
    """Remove the same fraction of each layer's channels, or rank all channels together, relative to their layer's
    mean."""


class FilterNorm(Compressor[Options]):
    """Removes the filters, or the hidden units, of the lowest norm."""

    semantics_version = 2  # in 1, networks that reorder channels lost the wrong ones
    norm: ClassVar[Literal[1, 2]]
    """Which norm: L1 or L2."""

    def kind(self, options: Options) -> Kind:
        """A smaller network; the preset removes nothing."""
        return "structure" if options.preset == "none" else "mask"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """A smaller network or, with the preset, a masked one; see `Compressor.compress`."""
        from pruneaudit.compression.channel_graph import without_texts
        from pruneaudit.compression.channel_masks import filter_masks
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.structure import ChangedArchitecture
        from pruneaudit.compression.structured import Limits, remove_channels

        if options.preset == "mia_prune":
            return held(model, filter_masks(model, options.sparsity, self.norm))
        smaller, structure = remove_channels(
            model,
            without_texts(context.example),
            "l1" if self.norm == 1 else "l2",
            options.sparsity,
            options.target,
            options.scope,
            Limits(options.exclude, options.max_channel_sparsity),
        )
        return Compressed(smaller, ChangedArchitecture(structure))


class L1Structured(FilterNorm):
    """Filter pruning by L1 norm: removes whole channels, so that the network becomes smaller and faster.

    Li et al. 2017 (arXiv 1608.08710): the norm is the sum of |w| of a filter.
    """

    norm = 1


class L2Structured(FilterNorm):
    """Filter pruning by L2 norm: removes whole channels, so that the network becomes smaller and faster.

    Like `l1structured` (Li et al. 2017, arXiv 1608.08710), with the Euclidean norm of each filter.
    """

    norm = 2


COMPRESSOR = {"l1structured": L1Structured(), "l2structured": L2Structured()}
