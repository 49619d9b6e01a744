"""Network slimming: removes the channels to which training gives small BatchNorm factors.

Source: Liu et al. 2017 (arXiv 1708.06519). The model is trained with an L1 penalty on the factors
(gamma) of BatchNorm. Then the channels with the smallest |gamma| in the whole network go, under one
threshold, and the smaller network is fine-tuned.

Deviations: the sparsity training starts from the trained dense model, so that every release of a
study descends from the same bank (the paper trains with the penalty from the start); by default
sparsity is a fraction of weights (in the paper: of channels); layers that are added to each other lose the
same channels, by their mean |gamma|; no layer loses more than `max_channel_sparsity` of its channels.

Preset `mia_prune` (arXiv 2202.03335): no sparsity training; gamma and beta of int(sparsity x all
gammas) channels are masked under one threshold, and nothing is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression._channel_options import ChannelOptions
from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse, Kind
from pruneaudit.core import seeds

if TYPE_CHECKING:
    from torch import nn


class Options(ChannelOptions):
    """Settings of network slimming."""

    sparsity_epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Epochs of training with the penalty; default: as many as in the fine-tuning."""
    strength: float = Field(default=1e-4, gt=0)
    """Weight of the L1 penalty on gamma."""


class Slim(Compressor[Options]):
    """Removes the channels of the smallest BatchNorm factors."""

    semantics_version = 2  # in 1, networks that reorder channels lost the wrong ones

    def kind(self, options: Options) -> Kind:
        """A smaller network; the preset removes nothing."""
        return "structure" if options.preset == "none" else "mask"

    def works_in_training(self, options: Options) -> bool:
        """The penalty works in training, with the settings of the fine-tuning."""
        return bool(options.preset == "none")

    def trains(self, options: Options) -> bool:
        """True: it trains with the penalty before the fine-tuning; the preset does not."""
        return self.works_in_training(options)

    def data(self, options: Options) -> DataUse:
        """`members`, for the training with the penalty."""
        return "members" if self.trains(options) else "none"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Trains with the penalty and removes channels or, with the preset, masks them; see `Compressor.compress`."""
        from pruneaudit.compression.channel_choice import check_sparsity
        from pruneaudit.compression.channel_graph import without_texts
        from pruneaudit.compression.channel_masks import gamma_masks, no_batch_norm
        from pruneaudit.compression.gamma_penalty import GammaPenalty, batch_norms
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.structure import ChangedArchitecture
        from pruneaudit.compression.structured import Limits, remove_channels

        if options.preset == "mia_prune":
            return held(model, gamma_masks(model, options.sparsity))
        check_sparsity(options.sparsity)
        if not batch_norms(model):
            raise no_batch_norm()

        example = without_texts(context.example)

        def smaller() -> tuple[nn.Module, str]:
            limits = Limits(options.exclude, options.max_channel_sparsity)
            return remove_channels(model, example, "gamma", options.sparsity, options.target, "global", limits)

        smaller()  # refuses a removal that is impossible before the training, not after it
        context.train(model, (GammaPenalty(options.strength),), seeds.SPARSITY_TRAINING, options.sparsity_epochs)
        pruned, structure = smaller()
        return Compressed(pruned, ChangedArchitecture(structure))


COMPRESSOR = Slim()
