"""Keeping the epoch that does best on the dev set, and ending a training that no longer gets better there.

The dev set is the public samples, so that no audited sample chooses a checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples


def dev_hooks(settings: Training, dev: Samples) -> tuple[Hook, ...]:
    """What looks at the dev set in a training with these settings; it stands after all other hooks."""
    if settings.select != "best_dev":
        return ()
    stops = () if settings.patience is None else (StopOnDev(dev, settings.patience),)
    return (*stops, BestOnDev(dev))


def _dev_accuracy(state: TrainingState, dev: Samples) -> float:
    """The accuracy on the dev set after this epoch, in [0, 1]; the hook that asks first measures and notes it."""
    row: dict[str, float] = state.history[-1]
    if "dev_accuracy" not in row:
        row["dev_accuracy"] = accuracy(state.model, dev)
    return row["dev_accuracy"]


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
        reached = _dev_accuracy(state, self._dev)
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


class StopOnDev(Hook):
    """Ends training once the dev accuracy has not risen above its best for more than `patience` epochs in a row.

    It keeps no weights: `BestOnDev` does, which has to stand after it. Epochs that are not selectable count
    neither as better nor as waiting, so that a mask on its way to the asked sparsity is not stopped there.
    """

    def __init__(self, dev: Samples, patience: int) -> None:
        self._dev, self._patience = dev, patience
        self._best_accuracy = -1.0
        self._num_waited = 0

    def epoch_end(self, state: TrainingState) -> None:
        """Compares with the best so far, and says stop."""
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
        """Takes back the best accuracy and the epochs since."""
        best, waited = tensors["progress"].tolist()
        self._best_accuracy, self._num_waited = best, int(waited)
