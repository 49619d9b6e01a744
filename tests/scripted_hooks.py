"""Hooks that tests of trainings share: one kills a training, one decides what the dev set says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pruneaudit.training.hooks import Hook, TrainingState


class Killed(Exception):  # noqa: N818 - it is no error
    """Stands for the end of the process."""


class KillIn(Hook):
    """Kills the training in one epoch (counted from 1), at its last step: what that epoch did is lost."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def epoch_end(self, state: TrainingState) -> None:
        if state.epoch + 1 == self._epoch:
            raise Killed


class Scripted(Hook):
    """Before the dev set is looked at: gets a given number of its 10 samples right, and says what is selectable.

    The model is a linear layer behind a flatten; the dev set is the numbers 0 to 9, all of class 0.
    """

    def __init__(self, num_right: Sequence[int], refused: Sequence[int] = ()) -> None:
        self._num_right, self._refused = num_right, refused
        self.states: list[dict[str, Tensor]] = []
        """The weights of each epoch."""

    @torch.no_grad()
    def epoch_end(self, state: TrainingState) -> None:
        # Class 0 wins below `num_right`. The last bias moves no border between two numbers: it tells the epoch.
        layer = state.model[1]  # type: ignore[index]
        layer.weight.copy_(torch.tensor([[0.0], [1.0]]))
        layer.bias.copy_(torch.tensor([self._num_right[state.epoch] - 0.5, float(state.epoch) * 1e-3]))
        self.states.append({name: value.clone() for name, value in state.model.state_dict().items()})
        if state.epoch in self._refused:
            state.selectable = False
