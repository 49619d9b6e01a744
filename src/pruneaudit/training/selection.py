"""Keeping the epoch that does best on the dev set.

The dev set comes from the reserve, so that no audited sample chooses a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples


class BestOnDev(Hook):
    """Puts back, at the end, the weights of the epoch with the best dev accuracy (the first of equals).

    Epochs of which a hook before this one has said that they are not selectable are passed over. Where that
    is all of them, the last epoch's weights stay.
    """

    def __init__(self, dev: Samples) -> None:
        self._dev = dev
        self._best_accuracy = -1.0
        self._best_weights: dict[str, Tensor] = {}

    def epoch_end(self, state: TrainingState) -> None:
        """Notes the dev accuracy, and the weights when they are the best so far."""
        reached = accuracy(state.model, self._dev)
        state.history[-1]["dev_accuracy"] = reached
        selectable, state.selectable = state.selectable, True  # hooks say no anew in each epoch
        if selectable and reached > self._best_accuracy:
            self._best_accuracy = reached
            self._best_weights = {name: value.clone() for name, value in state.model.state_dict().items()}

    def kept(self) -> dict[str, Tensor]:
        """The best accuracy and weights so far."""
        best = torch.tensor(self._best_accuracy, dtype=torch.float64)
        return {"accuracy": best, **{f"weights/{name}": value for name, value in self._best_weights.items()}}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Takes back the best accuracy and weights."""
        self._best_accuracy = float(tensors["accuracy"])
        prefix = "weights/"
        self._best_weights = {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}

    def finalize(self, state: TrainingState) -> None:
        """Puts the best weights back."""
        if self._best_weights:
            state.model.load_state_dict(self._best_weights)
