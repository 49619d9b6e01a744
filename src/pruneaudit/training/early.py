"""Keeps the weights of an early step of a training, for pruning that rewinds to them.

Source: Frankle et al. 2019 (arXiv 1903.01611), where a lottery ticket restarts from the weights after .1 to 7% of the
training, instead of the initial weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruneaudit.training.checkpoint import own_tensors
from pruneaudit.training.hooks import Hook, TrainingState


def early_step(keep_early: float, num_epochs: int, steps_per_epoch: int) -> int:
    """The number of the step after which weights are kept, from 1.

    Args:
        keep_early: an epoch (a whole number), or a fraction of all steps, in (0, 1); rounded to the nearest step.
        num_epochs: epochs of the training.
        steps_per_epoch: steps in each of them.
    """
    if isinstance(keep_early, int):
        return keep_early * steps_per_epoch
    return max(1, round(keep_early * num_epochs * steps_per_epoch))


class KeepEarly(Hook):
    """Copies all weights and buffers after one step; put it before hooks that restore another epoch's weights.

    A training that stops before that step gives its last weights.
    """

    def __init__(self, keep_early: float) -> None:
        """Sets the step; see `early_step`."""
        self._keep_early = keep_early
        self.weights: dict[str, Tensor] = {}
        """The weights, by name; a tensor that layers share has one name."""

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Keeps the weights if this is the step."""
        if state.step == early_step(self._keep_early, state.num_epochs, state.steps_per_epoch):
            self._keep(state)

    def finalize(self, state: TrainingState) -> None:
        """Keeps the last weights if the training has stopped earlier."""
        if not self.weights:
            self._keep(state)

    def kept(self) -> dict[str, Tensor]:
        """The weights, if the step is over."""
        return self.weights

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the weights."""
        self.weights = tensors

    def _keep(self, state: TrainingState) -> None:
        self.weights = {name: value.detach().clone() for name, value in own_tensors(state.model).items()}
