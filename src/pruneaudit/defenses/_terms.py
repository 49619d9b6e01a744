"""The hook of defences that change only the loss."""

# B batch, C classes

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pruneaudit.training.hooks import Hook, TrainingState


class Term(Hook):
    """Adds a term to the loss so far: the mean cross-entropy plus the terms of earlier hooks.

    A defence that replaces the cross-entropy by another loss adds the difference of the two, so that the terms of
    other hooks stay. An empty batch, which Poisson sampling can draw, gets no term.
    """

    def __init__(self, term: Callable[[TrainingState, Tensor, Tensor], Tensor]) -> None:
        """Describes the term: a function of the state, logits (B, C) and labels (B,), B > 0, to a scalar."""
        self._term = term

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Returns the loss so far plus the term."""
        return loss + self._term(state, logits, y) if len(y) else loss
