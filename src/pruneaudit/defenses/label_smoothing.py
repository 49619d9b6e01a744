"""Label smoothing: makes targets slightly uncertain, so that training stops fitting samples it has already learned.

Source: Szegedy et al. 2016 (arXiv 1512.00567), section 7. The target of a sample of class y is
1 - alpha + alpha / C for y, and alpha / C for each other of the C classes; the loss is the cross-entropy with it:

    (1 - alpha) x CE + alpha x mean over classes of -log p.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.training.hooks import Hook

# B batch, C classes


class LabelSmoothingOptions(Options):
    """How uncertain the targets are."""

    alpha: float = Field(default=0.1, ge=0, lt=1)
    """Probability that is spread over all classes, including the right one; 0 is plain training."""


class LabelSmoothing(Defense[LabelSmoothingOptions]):
    """Trains on softened labels."""

    main = "alpha"

    def hooks(self, model: nn.Module, options: LabelSmoothingOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The smoothed cross-entropy in place of the plain one."""
        from pruneaudit.defenses._terms import Term

        if not options.alpha:
            return ()
        return (Term(lambda state, logits, y: options.alpha * gap_to_uniform(logits, y)),)


def gap_to_uniform(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with the uniform distribution minus cross-entropy with the labels, in nats, as a scalar.

    Args:
        logits: (B, C).
        y: (B,) int64.
    """
    from torch.nn.functional import log_softmax, nll_loss

    log_p = log_softmax(logits, dim=1)
    return -log_p.mean() - nll_loss(log_p, y)


DEFENSE = LabelSmoothing()
