"""PPB: pulls the posteriors of paired training samples towards the same shape, so that no sample stands out.

Source: Yuan & Zhang 2022 (arXiv 2202.03335), "pair-based posterior balancing". Each sample's logits are
sorted, highest first, so that the class does not matter. Sample i of the first half of a batch
is paired with sample i of the second half; the last of an odd number is left out. The loss is

    CE(batch) + strength x mean over pairs of KL(q || p),

p and q being the softmax of the sorted logits of the first and the second half. The gradient goes through both.
A batch of one sample has no pair, and gets the plain loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook

# B batch, C classes


class PpbOptions(Options):
    """How strongly posteriors are pulled together."""

    strength: float = Field(default=4.0, ge=0)
    """Weight of the divergence (lambda of the paper, `defend_arg` of mia_prune); 0 is plain training."""


class Ppb(Defense[PpbOptions]):
    """Pulls the sorted posteriors of paired samples together."""

    main = "strength"

    def settings(self, options: PpbOptions, training: Training) -> Training:
        """Unchanged; checks that batches have pairs."""
        if training.batch_size < 2:
            raise UserError("defense 'ppb': got batch_size = 1, expected at least 2: it pairs the samples of a batch")
        return training

    def hooks(self, model: nn.Module, options: PpbOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The hook that adds the divergence to the loss."""
        from pruneaudit.defenses._terms import Term

        if not options.strength:
            return ()
        return (Term(lambda state, logits, y: options.strength * divergence_of_pairs(logits)),)


def divergence_of_pairs(logits: Tensor) -> Tensor:
    """Mean KL(q || p) over the pairs of a batch, in nats; p from its first half, q from its second.

    Args:
        logits: (B, C).

    Returns:
        A scalar, at least 0; 0 where there is no pair.
    """
    from torch.nn.functional import kl_div, log_softmax

    num_pairs = len(logits) // 2
    if not num_pairs:
        return logits.new_zeros(())
    ordered = logits[: 2 * num_pairs].sort(dim=1, descending=True).values
    log_p, log_q = log_softmax(ordered, dim=1).split(num_pairs)  # (B // 2, C) each
    return kl_div(log_p, log_q, reduction="batchmean", log_target=True)


DEFENSE = Ppb()
