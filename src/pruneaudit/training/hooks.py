"""The places where pruning methods and defences step into training.

`training/` knows neither of them. A hook overrides the few methods that it needs; the loop calls
them in the order in which the hooks were given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Sampler(Protocol):
    """Chooses which samples make up each step."""

    @property
    def num_batches(self) -> int:
        """Steps in one epoch (for Poisson sampling: the expected number)."""
        ...

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The batches of one epoch, each as positions (B,) int64 on the CPU; B = 0 is allowed."""
        ...


@dataclass
class TrainingState:
    """Where one training stands; hooks read it and may change the model in place."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    num_epochs: int
    steps_per_epoch: int
    epoch: int = 0
    """Epochs begun before this one."""
    step: int = 0
    """Optimizer steps finished since training began."""
    selectable: bool = True
    """Whether this epoch's weights may be the ones that are kept; a hook that is still on its way to the asked
    sparsity says no."""
    stop: bool = False
    """Whether training ends with this epoch; a hook says so in `epoch_end`."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per finished epoch: epoch, loss, learning_rate and what hooks add."""


class Hook:
    """A change of training; every method by default does nothing."""

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Replaces model, optimizer or sampler before training begins (DP-SGD does)."""
        return model, optimizer, sampler

    def batch(self, state: TrainingState, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Changes the inputs or targets of a step."""
        return x, y

    def before_forward(self, state: TrainingState) -> None:
        """Runs before the network sees the batch (DPF swaps in the masked weights)."""

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """The loss to differentiate, given the loss so far."""
        return loss

    def after_backward(self, state: TrainingState) -> None:
        """Runs between the gradient and the optimizer's step."""

    def after_step(self, state: TrainingState) -> None:
        """Runs after the optimizer's step (a mask sets its zeros again)."""

    def epoch_end(self, state: TrainingState) -> None:
        """Runs after each epoch; the epoch's row is `state.history[-1]`."""

    def finalize(self, state: TrainingState) -> None:
        """Runs once, after the last epoch."""

    def kept(self) -> dict[str, Tensor]:
        """What a training that goes on after a kill must find again in this hook, as tensors by name."""
        return {}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `kept` gave."""
