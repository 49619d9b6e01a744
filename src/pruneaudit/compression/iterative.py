"""Iterative magnitude pruning: alternates between pruning some of the remaining weights and training.

Source: Frankle & Carbin 2019 (arXiv 1803.03635). Each round removes the same fraction of the remaining
weights, those of smallest magnitude, so that a fraction (1 - sparsity)^(r / R) remains after round r of R.
Between rounds the model is trained with the settings of the release's fine-tuning; the training after the last
round is that fine-tuning itself.

`rewind` chooses the weights to continue from after a round: those at the end of the previous round
(`none`: Han et al. 2015, arXiv 1506.02626; WeMem's setting, 5 rounds), the initial weights (`init`: the
lottery ticket), or those of early in training (`early`: Frankle et al. 2020, arXiv 1912.05671). With all
three, the first round ranks the dense model's weights. `early` takes the weights that the dense model had early in
its own training, if the study keeps them (`training.keep_early`) and the release starts from it. Deviation from the
paper without them:
`early_epochs` epochs are trained again from the same initial weights, with another batch order, at the fine-tuning's
learning rate and over its whole schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse
from pruneaudit.compression.mask_options import MaskOptions
from pruneaudit.compression.schedules import density_after_round
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(MaskOptions):
    """Settings of iterative pruning."""

    rounds: int = Field(default=5, ge=1, le=100)
    """Number of rounds of removal; 1 is one-shot magnitude pruning."""
    rewind: Literal["none", "init", "early"] = "none"
    """Weights to continue from after each round: the current ones, the initial ones, or those of early in training."""
    early_epochs: int = Field(default=1, ge=1)
    """Number of epochs after which `rewind = "early"` takes its weights, if it has to train them again."""

    @model_validator(mode="after")
    def _early_epochs_belong_to_early(self) -> Options:
        if self.early_epochs != 1 and self.rewind != "early":
            raise ValueError(f"got early_epochs = {self.early_epochs}, but only rewind = 'early' uses it; leave it out")
        return self


class Iterative(Compressor[Options]):
    """Removes the smallest |w| in rounds of pruning and training."""

    def works_in_training(self, options: Options) -> bool:
        """True except for one round without rewinding, which is one-shot pruning."""
        return bool(options.rounds > 1 or options.rewind != "none")

    def trains(self, options: Options) -> bool:
        """True if there is training between rounds."""
        return self.works_in_training(options)

    def data(self, options: Options) -> DataUse:
        """`members` if there is training between rounds."""
        return "members" if self.trains(options) else "none"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Prunes and trains in rounds, except for the last training; see `Compressor.compress`."""
        import torch

        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import magnitude, magnitude_of_kept, prunable_weights, select_highest

        weights = prunable_weights(model, options.exclude, options.layers)
        kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        select_highest(
            magnitude(weights), options.sparsity, options.scope
        )  # refuses a sparsity that leaves no weight, before hours of training
        rewound = _rewound_to(model, options, context)
        for finished in range(1, options.rounds + 1):
            last = finished == options.rounds
            now = options.sparsity if last else 1 - density_after_round(options.sparsity, finished, options.rounds)
            kept = select_highest(magnitude_of_kept(weights, kept), now, options.scope)
            if rewound:
                model.load_state_dict(rewound)
            pruning = held(model, kept)
            if not last:
                context.train(model, pruning.hooks, seeds.ROUND.format(finished), None)
        return pruning


def _rewound_to(model: nn.Module, options: Options, context: CompressionContext) -> dict[str, Tensor]:
    """The weights that each round goes back to; empty without rewinding.

    Raises:
        UserError: `early_epochs` beside stored early weights.
    """
    if options.rewind == "none":
        return {}
    if options.rewind == "early" and context.early is not None:
        if options.early_epochs != 1:
            raise UserError(
                f"early_epochs: got {options.early_epochs}, but the rounds go back to the weights that"
                " training.keep_early keeps; leave one of them out"
            )
        return context.early().state_dict()
    from pruneaudit.compression.parametrized import copied

    earlier = copied(model)
    context.restart(earlier)
    if options.rewind == "early":
        context.train(earlier, (), seeds.EARLY, options.early_epochs)
    return earlier.state_dict()


COMPRESSOR = Iterative()
