"""Measures the running times of networks side by side.

Clock speed, caches and other processes change from minute to minute, so networks are compared within one
run: each round times every network once, and each round begins with a different one. Times are reported
next to the findings and are not part of them.
"""

# B batch, C channels, H height, W width, F features

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.data.inputs import Inputs, answered, device_of


@dataclass(frozen=True)
class Latency:
    """Seconds for one pass of one batch."""

    median_seconds: float
    min_seconds: float
    max_seconds: float
    rounds: int
    """Number of timed passes."""
    threads: int
    """Number of CPU threads that torch used."""


def latency(models: Mapping[str, nn.Module], batch: Inputs, rounds: int = 30) -> dict[str, Latency]:
    """Times one pass of `batch` through every model, in turns.

    Args:
        models: the networks by name, all on the batch's device; their modes do not change.
        batch: inputs (B, C, H, W) or (B, F).
        rounds: timed passes of each network, at least 1, after two more to warm up.

    Returns:
        Wall-clock seconds by the models' names, in evaluation mode and without gradients.

    Raises:
        ValueError: fewer than 1 round.
    """
    if rounds < 1:
        raise ValueError(f"rounds: got {rounds}, expected at least 1")
    names = list(models)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for model in models.values():
            stack.enter_context(evaluating(model))
        for turn in range(-2, rounds):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                taken = _timed(models[name], batch)
                if turn >= 0:
                    seconds[name].append(taken)
    return {
        name: Latency(statistics.median(taken), min(taken), max(taken), rounds, torch.get_num_threads())
        for name, taken in seconds.items()
    }


def _timed(model: nn.Module, batch: Inputs) -> float:
    _wait(batch)
    started = time.perf_counter()
    answered(model, batch)
    _wait(batch)
    return time.perf_counter() - started


def _wait(batch: Inputs) -> None:
    """Waits for the GPU, which may still be working after the call has returned."""
    device = device_of(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
