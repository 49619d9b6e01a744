"""WeMem's order of training: a window that slides over ranks, and one pass each over memorised and other samples."""

# n samples of one model, B batch, C classes

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.samples import Shuffled


def ranks_in_class(scores: np.ndarray, y: np.ndarray, descending: bool = False) -> np.ndarray:
    """The rank of each sample within its class, by score; ties keep their order.

    Args:
        scores: (n,) float64, higher = more memorised.
        y: (n,) int labels.
        descending: whether rank 0 is the most memorised sample instead of the least.

    Returns:
        (n,) int64, 0 to the size of the class - 1.
    """
    order = np.lexsort((-scores if descending else scores, y))  # (n,), class by class
    first = np.searchsorted(y[order], y[order])  # (n,): where each sample's class begins
    ranks = np.empty(len(y), np.int64)
    ranks[order] = np.arange(len(y)) - first
    return ranks


def in_window(ranks: np.ndarray, sizes: np.ndarray, epoch: int, stride: int, width: int) -> np.ndarray:
    """Which samples an epoch trains on: ranks stride * epoch to stride * epoch + width - 1 of each class.

    Past the end of a class the window continues at its beginning, so every epoch has the same number of samples.

    Args:
        ranks: (n,) of `ranks_in_class`.
        sizes: (n,) int, the number of samples in each sample's class.
        epoch: counted from 0.
        stride: ranks by which the window moves each epoch.
        width: ranks in the window; it holds the whole of a class with no more samples than that.

    Returns:
        (n,) bool.
    """
    inside: np.ndarray = (ranks - stride * epoch) % sizes < width
    return inside


class Passes:
    """The batches of an epoch in two passes: over the memorised samples, then over the others.

    A batch has samples of one kind, with one exception: BatchNorm cannot train on a single sample, so a pass of
    one sample joins the other pass.
    """

    def __init__(
        self, memorised: np.ndarray, chosen: Callable[[int], np.ndarray], num_epochs: int, batch_size: int
    ) -> None:
        """Describes the order of one training.

        Args:
            memorised: (n,) bool, the samples of the first pass.
            chosen: maps an epoch (counted from 0) to the samples that it trains on, (n,) bool.
            num_epochs: epochs of the training.
            batch_size: B, the most samples in a batch (one more where the last sample would be alone).
        """
        self._memorised, self._chosen, self._batch_size = memorised, chosen, batch_size
        self.epoch = 0
        """The epoch whose batches come next."""
        self.over_memorised = False
        """Whether the latest batch is one of memorised samples."""
        trained_on, num_batches = np.zeros_like(memorised), 0
        for epoch in range(num_epochs):
            trained_on |= chosen(epoch)
            num_batches += sum(Shuffled(len(part), batch_size).num_batches for part in self._parts(epoch) if len(part))
        # The number of steps differs from epoch to epoch. Rounding up keeps a schedule from ending too early.
        self._num_batches = math.ceil(num_batches / num_epochs)
        self.facts = {
            "num_memorised": int(memorised.sum()),
            "samples_per_epoch": int(chosen(0).sum()),
            "num_left_out": int((~trained_on).sum()),
        }
        """Numbers of members: memorised, in one epoch, in no epoch."""

    @property
    def num_batches(self) -> int:
        """Steps in one epoch: the mean over epochs, rounded up."""
        return self._num_batches

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The batches of this epoch, each as positions (B,)."""
        for over_memorised, part in zip((True, False), self._parts(self.epoch), strict=True):
            if len(part):
                for places in Shuffled(len(part), self._batch_size).batches(generator):
                    self.over_memorised = over_memorised
                    yield part[places]

    def _parts(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Positions of memorised samples and of others, each in rising order."""
        chosen = self._chosen(epoch)
        memorised, others = chosen & self._memorised, chosen & ~self._memorised
        if min(memorised.sum(), others.sum()) == 1:
            alone_joins = memorised.sum() > others.sum()
            memorised, others = (chosen, others & False) if alone_joins else (memorised & False, chosen)
        return torch.from_numpy(np.flatnonzero(memorised)), torch.from_numpy(np.flatnonzero(others))


class TrainInPasses(Hook):
    """Trains in two passes, and sets the weight decay of each step by its pass."""

    def __init__(self, passes: Passes, weight_decay: float) -> None:
        """Describes the steps.

        Args:
            passes: the order of the samples.
            weight_decay: for steps on memorised samples; other steps keep the optimizer's own.
        """
        self.passes = passes
        self._weight_decay = weight_decay
        self._usual: list[float] = []

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Replaces the order of samples, and remembers the optimizer's own weight decay."""
        self._usual = [group["weight_decay"] for group in optimizer.param_groups]
        return model, optimizer, self.passes

    def before_forward(self, state: TrainingState) -> None:
        """Sets the weight decay of the next step."""
        for group, usual in zip(state.optimizer.param_groups, self._usual, strict=True):
            group["weight_decay"] = self._weight_decay if self.passes.over_memorised else usual

    def epoch_end(self, state: TrainingState) -> None:
        """Moves on to the next epoch's samples."""
        self.passes.epoch = state.epoch + 1

    def kept(self) -> dict[str, Tensor]:
        """The next epoch."""
        return {"epoch": torch.tensor(self.passes.epoch)}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the state that `kept` returned."""
        self.passes.epoch = int(tensors["epoch"])
