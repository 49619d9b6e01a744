"""Small networks on one thread."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

# n samples, C channels, H height, W width


@pytest.fixture(autouse=True)
def always_on_one_thread(one_thread: None) -> None:
    """All of these tests run on one thread."""


@pytest.fixture(scope="session")
def noise() -> Samples:
    """40 images (1, 8, 8) of noise, with random labels of 3 classes."""
    generator = torch.Generator().manual_seed(1)
    return Samples(torch.randn(40, 8, 8, 1, generator=generator), torch.randint(3, (40,), generator=generator))


@pytest.fixture(scope="session")
def make_context(noise: Samples) -> Callable[..., CompressionContext]:
    """A context that trains on noise for 2 epochs of 5 steps; `phases` notes what was trained, as it was at first."""

    def make(
        initial: Callable[[], nn.Module], phases: list[tuple[str, int | None, Any]] | None = None
    ) -> CompressionContext:
        def train_phase(model: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
            if phases is not None:
                phases.append((phase, epochs, copy.deepcopy(model.state_dict())))
            settings = Training(epochs=epochs or 2, batch_size=8, learning_rate=0.05)
            train(model, noise, settings, torch.Generator().manual_seed(9), hooks)

        return CompressionContext(noise.inputs(slice(0, 1)), torch.Generator().manual_seed(3), train_phase, initial)

    return make
