"""Keeps the epoch that is best on the dev set, and ends a training that no longer improves on it.

The dev set is the public samples, so that audited samples do not choose a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples


def dev_hooks(settings: Training, dev: Samples) -> tuple[Hook, ...]:
    """The hooks that use the dev set in a training with these settings; put them after all others."""
    if settings.select != "best_dev":
        return ()
    stops = () if settings.patience is None else (StopOnDev(dev, settings.patience),)
    return (*stops, BestOnDev(dev))


def _dev_accuracy(state: TrainingState, dev: Samples) -> float:
    """The accuracy on the dev set after this epoch, in [0, 1]; the first call measures it and records it."""
    row: dict[str, float] = state.history[-1]
    if "dev_accuracy" not in row:
        row["dev_accuracy"] = accuracy(state.model, dev)
    return row["dev_accuracy"]


class BestOnDev(Hook):
    """Restores, at the end, the weights of the epoch with the best dev accuracy (the first of equals).

    It skips epochs that an earlier hook marked as not selectable. If all are, the last epoch's weights stay.
    """

    def __init__(self, dev: Samples) -> None:
        self._dev = dev
        self._best_accuracy = -1.0
        self._best_weights: dict[str, Tensor] = {}

    def epoch_end(self, state: TrainingState) -> None:
        """Records the dev accuracy, and the weights if they are the best so far."""
        reached = _dev_accuracy(state, self._dev)
        selectable, state.selectable = state.selectable, True  # hooks set it again in each epoch
        if selectable and reached > self._best_accuracy:
            self._best_accuracy = reached
            self._best_weights = {name: value.clone() for name, value in state.model.state_dict().items()}

    def kept(self) -> dict[str, Tensor]:
        """The best accuracy and weights so far."""
        best = torch.tensor(self._best_accuracy, dtype=torch.float64)
        return {"accuracy": best, **{f"weights/{name}": value for name, value in self._best_weights.items()}}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the best accuracy and weights."""
        self._best_accuracy = float(tensors["accuracy"])
        prefix = "weights/"
        self._best_weights = {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}

    def finalize(self, state: TrainingState) -> None:
        """Loads the best weights into the model."""
        if self._best_weights:
            state.model.load_state_dict(self._best_weights)


class StopOnDev(Hook):
    """Ends training after more than `patience` epochs in a row without a new best dev accuracy.

    It keeps no weights: `BestOnDev` does, and must come after it. Epochs that are not selectable do not count,
    so that training does not stop before a mask reaches its requested sparsity.
    """

    def __init__(self, dev: Samples, patience: int) -> None:
        self._dev, self._patience = dev, patience
        self._best_accuracy = -1.0
        self._num_waited = 0

    def epoch_end(self, state: TrainingState) -> None:
        """Compares with the best so far, and stops training if it is time."""
        reached = _dev_accuracy(state, self._dev)
        if not state.selectable:
            return
        self._num_waited = 0 if reached > self._best_accuracy else self._num_waited + 1
        self._best_accuracy = max(self._best_accuracy, reached)
        if self._num_waited > self._patience:
            state.stop = True

    def kept(self) -> dict[str, Tensor]:
        """The best accuracy, and the epochs since."""
        return {"progress": torch.tensor([self._best_accuracy, self._num_waited], dtype=torch.float64)}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the best accuracy and the epochs since."""
        best, waited = tensors["progress"].tolist()
        self._best_accuracy, self._num_waited = best, int(waited)
