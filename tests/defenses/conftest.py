"""Small networks and a small problem on one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.study import Training
from pruneaudit.training.samples import Samples

# n samples, C channels, H height, W width


@pytest.fixture(autouse=True)
def always_on_one_thread(one_thread: None) -> None:
    """All of these tests run on one thread."""


@pytest.fixture(scope="session")
def make_noise() -> Callable[..., Samples]:
    """Images (1, 8, 8) of noise, with random labels of 3 classes: all that can be learned of them is by heart."""

    def make(num_samples: int, seed: int) -> Samples:
        draws = torch.Generator().manual_seed(seed)
        return Samples(
            torch.randn(num_samples, 8, 8, 1, generator=draws), torch.randint(3, (num_samples,), generator=draws)
        )

    return make


@pytest.fixture(scope="session")
def make_defense_context(make_noise: Callable[..., Samples]) -> Callable[..., DefenseContext]:
    """A training on 41 samples of noise, with 24 public samples; what is given replaces a part of it."""

    def make(settings: Training, **parts: Any) -> DefenseContext:
        context: dict[str, Any] = {
            "members": make_noise(41, 1),
            "public": make_noise(24, 2),
            "num_classes": 3,
            "masks": lambda: None,
            "generator": torch.Generator().manual_seed(3),
        }
        return DefenseContext(settings=settings, **(context | parts))

    return make
