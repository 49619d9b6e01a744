"""Changing nothing but the loss: what the defences that do so have in common."""

# B batch, C classes

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pruneaudit.training.hooks import Hook, TrainingState


class Term(Hook):
    """Adds a term to the loss so far: the mean cross-entropy, and what hooks before this one have added.

    A defence that wants another loss in place of the cross-entropy gives the difference of the two, so that
    what others have added stays. An empty batch, as Poisson sampling may draw, gets no term.
    """

    def __init__(self, term: Callable[[TrainingState, Tensor, Tensor], Tensor]) -> None:
        """Describes the term: a function of the state, logits (B, C) and labels (B,), B > 0, that gives a scalar."""
        self._term = term

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """The loss so far and the term."""
        return loss + self._term(state, logits, y) if len(y) else loss
