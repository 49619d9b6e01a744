"""RelaxLoss: keeps the training loss at a level alpha instead of driving it to zero.

Source: Chen et al. 2022 (arXiv 2207.05801), algorithm 1. A low loss gives members away; a level that
non-members reach as well hides them. CE is a batch's mean cross-entropy. While CE > alpha, every epoch is
plain training. At or below alpha,

- epochs 0, 2, 4, ... climb: the loss is |CE - alpha| (above alpha too, where its gradient is that of CE);
- epochs 1, 3, 5, ... flatten: the loss is the cross-entropy with soft labels, which keep the probability p_y that the
  network gives to the right class and share 1 - p_y equally among the others. No gradient goes through the
  labels. Confidence stays, and no wrong class can overtake the right one.

Each training counts its epochs from 0, so fine-tuning begins with an epoch that climbs.

`flatten = "wrong"` does in odd epochs what the authors' published program does: it flattens only wrongly classified
samples, with the gradient through their labels, and CE keeps climbing for all. The loss is then the mean of
[wrong] x CE(soft) - CE.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.training.hooks import Hook

# B batch, C classes


class RelaxLossOptions(Options):
    """The level of the loss, and how it is kept."""

    alpha: float = Field(default=1.0, gt=0)
    """The level, in nats; above the loss that plain training reaches, below log C."""
    flatten: Literal["all", "wrong"] = "all"
    """The samples that odd epochs flatten: `all`, as in the paper, or only the `wrong` ones, as in the authors'
    program."""


class RelaxLoss(Defense[RelaxLossOptions]):
    """Keeps the training loss at a level."""

    main = "alpha"

    def hooks(self, model: nn.Module, options: RelaxLossOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The relaxed loss in place of the cross-entropy.

        Raises:
            UserError: alpha is not below the loss of guessing.
        """
        from torch.nn.functional import cross_entropy

        from pruneaudit.defenses._terms import Term
        from pruneaudit.training.hooks import TrainingState

        guessing = math.log(context.num_classes)
        if options.alpha >= guessing:
            raise UserError(
                f"defense 'relaxloss': got alpha = {options.alpha:g}, expected less than {guessing:.3g}, the loss of "
                f"guessing among {context.num_classes} classes"
            )

        def change(state: TrainingState, logits: Tensor, y: Tensor) -> Tensor:
            if state.epoch % 2 == 0:
                own = climbing_loss(logits, y, options.alpha)
            else:
                own = flattening_loss(logits, y, options.alpha, options.flatten)
            return own - cross_entropy(logits, y)

        return (Term(change),)


def climbing_loss(logits: Tensor, y: Tensor, alpha: float) -> Tensor:
    """|CE - alpha| of logits (B, C) and labels (B,), a scalar in nats."""
    from torch.nn.functional import cross_entropy

    return (cross_entropy(logits, y) - alpha).abs()


def flattening_loss(logits: Tensor, y: Tensor, alpha: float, flatten: Literal["all", "wrong"] = "all") -> Tensor:
    """CE where it is above alpha, and the loss that flattens posteriors elsewhere.

    Args:
        logits: (B, C), C > 1.
        y: (B,) int64.
        alpha: the level, in nats.
        flatten: see the module.

    Returns:
        A scalar in nats; with `wrong` it can be negative.
    """
    import torch
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits, y, reduction="none")  # (B,)
    soft = soft_labels(logits, y)
    if flatten == "all":
        flattened = cross_entropy(logits, soft.detach())
    else:
        wrong = logits.argmax(1) != y
        flattened = (wrong * cross_entropy(logits, soft, reduction="none") - losses).mean()
    return torch.where(losses.mean() > alpha, losses.mean(), flattened)  # no `if`: it would wait for a GPU each step


def soft_labels(logits: Tensor, y: Tensor) -> Tensor:
    """(B, C): the network's own probability for the right class; the others share the rest equally."""
    own = logits.softmax(1).gather(1, y[:, None])  # (B, 1)
    rest = (1 - own) / (logits.shape[1] - 1)
    return rest.expand_as(logits).scatter(1, y[:, None], own)


DEFENSE = RelaxLoss()
