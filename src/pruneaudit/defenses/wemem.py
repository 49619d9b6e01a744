"""WeMem: fine-tuning sees each sample less often, and learns those that are memorised under more weight decay.

Source: Shang et al. 2025, "Defending against membership inference attacks on iteratively pruned deep neural networks"
(NDSS 2025, paper 90), for iterative pruning in 5 rounds; it works in any fine-tuning. Samples are told apart by

    mem(i) = mean p_y(i) over models trained on i - mean p_y(i) over models not trained on i,

in [-1, 1], from a scoring bank: `scoring_models` dense models of their own, never victim and never reference (scores
from audited models would tell who their members are). The defence has three forms, by `variant`:

- `rsw`: epoch e (from 0) trains on ranks [stride x e, stride x e + width) of each class, by mem, and on no other.
- `rmr`: every epoch trains on the members with mem >= tau first, in a pass of their own with `weight_decay`, then on
  the others with the training's own.
- `swmr`: both; the two passes go over the samples in the window.

What the description leaves open, or where this departs from the authors' program:

- Ranks count from the least memorised sample (`order` turns that round). Past the end of a class the window goes on
  from its beginning, so all epochs are of one size. A stride above the width, which would pass samples over, is
  refused, and so is a width that no class exceeds.
- Epochs count anew in each training: in iterative pruning each round begins with the same window, which by
  default is that of the least memorised samples.
- One optimizer makes both passes, so momentum and learning rate are common to them. The authors' has two, and a
  schedule for one.
- Where passes take other numbers of steps in other epochs (`swmr`), the schedule takes their mean, rounded up.
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
    """Which samples an epoch sees, and which of them under more weight decay."""

    variant: Literal["rsw", "rmr", "swmr"] = "swmr"
    """rsw: the sliding window; rmr: more weight decay for memorised samples; swmr: both."""
    stride: int = Field(default=100, ge=1)
    """Ranks by which the window moves each epoch (the authors, CIFAR-10: 100 in swmr, 50 in rsw; Location: 1)."""
    width: int = Field(default=500, ge=1)
    """Samples of each class in the window (the authors, CIFAR-10: 500; Location: 15)."""
    order: Literal["ascending", "descending"] = "ascending"
    """Whether the window starts at the least memorised samples or at the most memorised ones."""
    tau: float = Field(default=0.5, ge=-1, le=1)
    """Least score of a memorised sample (the authors, CIFAR-10: 0.5; Location: 0.6)."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Of steps on memorised samples (the authors: 0.1)."""
    scoring_models: int = Field(default=8, ge=2, le=10_000)
    """Models of the scoring bank. Of K, a sample is on one side of all with probability 2^(1 - K), and scores 0."""

    @model_validator(mode="after")
    def _all_used(self) -> WememOptions:
        for name in UNUSED[self.variant]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"got {name} = {getattr(self, name)}, which variant = '{self.variant}' does not use; leave it out, "
                    "or set variant = 'swmr'"
                )
        if self.stride > self.width:
            raise ValueError(
                f"got stride = {self.stride} and width = {self.width}, expected a stride of at most the width: the "
                "window would pass samples over"
            )
        return self


class Wemem(Defense[WememOptions]):
    """Trains on a window of each class, and keeps what is memorised small."""

    main = "tau"
    needs: ClassVar[frozenset[str]] = frozenset({"sample_scores"})

    def settings(self, options: WememOptions, training: Training) -> Training:
        """Unchanged; memorised samples must not have less weight decay than others.

        Raises:
            UserError: they would.
        """
        if options.variant != "rsw" and options.weight_decay < training.weight_decay:
            raise UserError(
                f"defense 'wemem': got weight_decay = {options.weight_decay:g}, expected at least the training's own "
                f"{training.weight_decay:g}; raise it, or lower the training's"
            )
        return training

    def hooks(self, model: nn.Module, options: WememOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The one hook that orders the samples and sets the weight decay.

        Raises:
            UserError: there are no scores, or every class is in the window as a whole.
        """
        import numpy as np

        from pruneaudit.defenses._wemem_passes import Passes, TrainInPasses, in_window, ranks_in_class

        scores, settings = context.sample_scores, context.settings
        if scores is None:
            raise UserError(
                "defense 'wemem': got no scores of the samples, expected those of a scoring bank, which a study trains;"
                " use it in a study"
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

    def report(
        self, hooks: tuple[Hook, ...], pretrained: bool | None = None, masked: bool | None = None
    ) -> dict[str, Any]:
        """How many members are memorised, in each epoch, and in none; where weights and mask came from has no part."""
        from pruneaudit.defenses._wemem_passes import TrainInPasses

        return next((dict(hook.passes.facts) for hook in hooks if isinstance(hook, TrainInPasses)), {})


DEFENSE = Wemem()
