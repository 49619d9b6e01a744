"""WeMem: fine-tunes on each sample less often, and on memorised samples with more weight decay.

Source: Shang et al. 2025, "Defending against membership inference attacks on iteratively pruned deep neural networks"
(NDSS 2025, paper 90), for iterative pruning in 5 rounds; it works in any fine-tuning. Each sample has a score

    mem(i) = mean p_y(i) over models trained on i - mean p_y(i) over models not trained on i,

in [-1, 1]. It comes from a scoring bank: `scoring_models` separate dense models that are never victims or references
(scores from audited models would reveal their members). The defence has three forms, by `variant`:

- `rsw`: epoch e (from 0) trains only on ranks [stride x e, stride x e + width) of each class, by mem.
- `rmr`: every epoch trains first on the members with mem >= tau, in a separate pass with `weight_decay`, then on
  the others with the training's own weight decay.
- `swmr`: both; the two passes go over the samples in the window.

Choices that the paper leaves open, and deviations from the authors' program:

- Ranks count from the least memorised sample (`order` reverses that). Past the end of a class the window continues
  at its beginning, so all epochs have the same size. A stride above the width is refused, because it would skip
  samples; so is a width that no class exceeds.
- Each training counts its epochs from 0: in iterative pruning each round begins with the same window, by default
  the least memorised samples.
- One optimizer makes both passes, so they share momentum and learning rate. The authors use two, and a
  schedule for one of them.
- If the number of steps differs between epochs (`swmr`), the schedule takes the mean, rounded up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook

# n samples of one model

UNUSED = {"rsw": ("tau", "weight_decay"), "rmr": ("stride", "width", "order"), "swmr": ()}
"""Options that a variant does not use."""


class WememOptions(Options):
    """Which samples an epoch trains on, and which of them with more weight decay."""

    variant: Literal["rsw", "rmr", "swmr"] = "swmr"
    """rsw: the sliding window; rmr: more weight decay for memorised samples; swmr: both."""
    stride: int = Field(default=100, ge=1)
    """Ranks by which the window moves each epoch (the authors, CIFAR-10: 100 in swmr, 50 in rsw; Location: 1)."""
    width: int = Field(default=500, ge=1)
    """Samples of each class in the window (the authors, CIFAR-10: 500; Location: 15)."""
    order: Literal["ascending", "descending"] = "ascending"
    """Whether the window starts at the least memorised samples or at the most memorised ones."""
    tau: float = Field(default=0.5, ge=-1, le=1)
    """Samples with at least this score count as memorised (the authors, CIFAR-10: 0.5; Location: 0.6)."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay for steps on memorised samples (the authors: 0.1)."""
    scoring_models: int = Field(default=8, ge=2, le=10_000)
    """Models in the scoring bank. With K models, a sample is a member of all or of none with probability 2^(1 - K);
    it then scores 0."""

    @model_validator(mode="after")
    def _all_used(self) -> WememOptions:
        for name in UNUSED[self.variant]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"got {name} = {getattr(self, name)}, but variant = '{self.variant}' does not use it; leave it "
                    f"out, or set variant = 'swmr'"
                )
        if self.stride > self.width:
            raise ValueError(
                f"got stride = {self.stride} and width = {self.width}, expected a stride of at most the width: a "
                "larger one skips samples"
            )
        return self


class Wemem(Defense[WememOptions]):
    """Trains on a window of each class, with more weight decay for memorised samples."""

    main = "tau"
    needs: ClassVar[frozenset[str]] = frozenset({"sample_scores"})

    def settings(self, options: WememOptions, training: Training) -> Training:
        """Unchanged; checks that memorised samples do not get less weight decay than others.

        Raises:
            UserError: they do.
        """
        if options.variant != "rsw" and options.weight_decay < training.weight_decay:
            raise UserError(
                f"defense 'wemem': got weight_decay = {options.weight_decay:g}, expected at least the training's own "
                f"{training.weight_decay:g}; raise it, or lower the training's"
            )
        return training

    def hooks(self, model: nn.Module, options: WememOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The hook that orders the samples and sets the weight decay.

        Raises:
            UserError: there are no scores, or the window holds every class completely.
        """
        import numpy as np

        from pruneaudit.defenses._wemem_passes import Passes, TrainInPasses, in_window, ranks_in_class

        scores, settings = context.sample_scores, context.settings
        if scores is None:
            raise UserError(
                "defense 'wemem': got no scores of the samples, expected those of a scoring bank; use this defense in "
                "a study, which trains such a bank"
            )
        y = context.members.y.cpu().numpy()  # (n,)
        nothing = np.zeros(len(y), dtype=bool)
        memorised = scores >= options.tau if options.variant != "rsw" else nothing  # (n,)
        if options.variant == "rmr":
            passes = Passes(memorised, lambda epoch: ~nothing, settings.epochs, settings.batch_size)
            return (TrainInPasses(passes, options.weight_decay),)
        ranks = ranks_in_class(scores, y, options.order == "descending")  # (n,)
        sizes = np.bincount(y)[y]  # (n,)
        if options.width >= sizes.max():
            raise UserError(
                f"defense 'wemem': got width = {options.width}, expected less than {sizes.max()}, the members in the "
                "largest class: the window holds every sample in every epoch; lower it, or set variant = 'rmr'"
            )

        def chosen(epoch: int) -> np.ndarray:
            return in_window(ranks, sizes, epoch, options.stride, options.width)

        passes = Passes(memorised, chosen, settings.epochs, settings.batch_size)
        return (TrainInPasses(passes, options.weight_decay),)

    def report(self, hooks: tuple[Hook, ...]) -> dict[str, Any]:
        """Numbers of members: memorised, in each epoch, in none."""
        from pruneaudit.defenses._wemem_passes import TrainInPasses

        return next((dict(hook.passes.facts) for hook in hooks if isinstance(hook, TrainInPasses)), {})


DEFENSE = Wemem()
