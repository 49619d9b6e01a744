"""Hooks: the interface through which pruning methods and defences change training.

`training/` knows nothing about either. A hook overrides only the methods that it needs; the loop calls
hooks in the given order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pruneaudit.data.inputs import Inputs


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
    """The progress of one training; hooks read it and can change the model in place."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    num_epochs: int
    steps_per_epoch: int
    epoch: int = 0
    """Number of the current epoch, from 0."""
    step: int = 0
    """Number of optimizer steps since training began."""
    selectable: bool = True
    """Whether this epoch's weights can be selected; a mask below its requested sparsity sets it to False."""
    stop: bool = False
    """Whether training ends with this epoch; a hook can set it in `epoch_end`."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per finished epoch: epoch, loss, learning_rate and what hooks add."""


class Hook:
    """A modification of training; by default every method does nothing."""

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Replaces model, optimizer or sampler before training begins (DP-SGD does)."""
        return model, optimizer, sampler

    def batch(self, state: TrainingState, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """Changes the inputs or targets of a step."""
        return x, y

    def before_forward(self, state: TrainingState) -> None:
        """Runs before the forward pass (adversarial regularisation trains its attacker)."""

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
        """The hook's state for checkpoints, as tensors by name, so that a killed training can continue."""
        return {}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the state that `kept` returned."""
