"""Network slimming: BatchNorm learns which channels matter, the others are removed.

Source: Liu et al. 2017 (arXiv 1708.06519). The model is trained with an L1 penalty on the factors
(gamma) of BatchNorm, then the channels of the smallest |gamma| in the whole network go, under one
threshold, and the smaller network is fine-tuned.

Deviations: the sparsity training starts from the trained dense model, so that every release of a
study descends from the same bank (the paper trains with the penalty from the start); sparsity is by
default a fraction of weights (the paper's: of channels); layers that are added to each other lose the
same channels, by their mean |gamma|; no layer loses more than `max_channel_sparsity` of its channels.

Preset `mia_prune` (arXiv 2202.03335): no sparsity training; gamma and beta of int(sparsity x all
gammas) channels are masked under one threshold, and nothing is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pruneaudit.compression._channel_options import ChannelOptions
from pruneaudit.compression.pruner import Pruner, Pruning, Workshop
from pruneaudit.core import seeds

if TYPE_CHECKING:
    from torch import nn


class Options(ChannelOptions):
    """Settings of network slimming."""

    sparsity_epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Epochs of training with the penalty; default: as many as the fine-tuning has."""
    strength: float = Field(default=1e-4, gt=0)
    """Weight of the L1 penalty on gamma."""


class Slim(Pruner):
    """Removes the channels of the smallest BatchNorm factors."""

    Options = Options
    semantics_version = 2  # in 1, networks that reorder channels lost those of others

    def changes_architecture(self, options: Any) -> bool:
        """The preset removes nothing."""
        return bool(options.preset == "none")

    def needs_training(self, options: Any) -> bool:
        """The penalty works in training, with the settings of the fine-tuning."""
        return bool(options.preset == "none")

    def prune(self, model: nn.Module, sparsity: float, options: Any, workshop: Workshop) -> Pruning:
        """Trains with the penalty and removes channels or, with the preset, masks them; see `Pruner.prune`."""
        from pruneaudit.compression.channel_choice import check_sparsity
        from pruneaudit.compression.channel_masks import gamma_masks, no_batch_norm
        from pruneaudit.compression.gamma_penalty import GammaPenalty, batch_norms
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.structured import Limits, remove_channels

        if options.preset == "mia_prune":
            return held(model, gamma_masks(model, sparsity))
        check_sparsity(sparsity)
        if not batch_norms(model):
            raise no_batch_norm()

        def smaller() -> tuple[nn.Module, str]:
            limits = Limits(options.exclude, options.max_channel_sparsity)
            return remove_channels(model, workshop.example, "gamma", sparsity, options.target, "global", limits)

        smaller()  # what cannot be removed is said before the training, not after it
        workshop.train(model, (GammaPenalty(options.strength),), seeds.SPARSITY_TRAINING, options.sparsity_epochs)
        pruned, structure = smaller()
        return Pruning(pruned, structure=structure)


PRUNER = Slim()
