"""How fast the releases of a study are, timed in turns within one run, in about two seconds.

Studies are timed every time they finish, so batch and rounds are chosen for the time that they take.
"""

# B batch, C channels, H height, W width, F features

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from pruneaudit.compression.latency import Latency, latency
from pruneaudit.compression.macs import num_parameters
from pruneaudit.core.errors import in_one_line

BATCH_SIZES = (32, 8, 1)
"""Of the timed batch: the largest of which `FEWEST_ROUNDS` fit into `MAX_SECONDS`, else the last."""
MAX_BATCH = max(BATCH_SIZES)
FEWEST_ROUNDS = 10
MOST_ROUNDS = 300
"""Passes of tiny networks take microseconds, and medians of a few of them differ by half."""
WARM_UP_ROUNDS = 2
MAX_SECONDS = 2.0
"""What timing may take in all; more only where one round and its warm-up take longer even for one input."""
MAX_PARAMETERS = 500_000_000
"""Networks that are timed in turns are in memory at once: with more parameters in all, they are not timed."""


T = TypeVar("T")
MAX_REASON = 200
"""Letters of the reason why something could not be measured."""


class Gaps(dict[str, str]):
    """What could not be measured, and why, in one line each."""

    def measured(self, what: str, measure: Callable[[], T]) -> T | None:
        """What `measure` returns; None where it fails, with the reason kept under `what`."""
        try:
            return measure()
        except Exception as error:  # a user's network may do anything
            self[what] = in_one_line(error, MAX_REASON)
            return None


@dataclass
class Timing:
    """What was timed, and how."""

    latencies: dict[str, Latency] = field(default_factory=dict)
    """By the networks' names."""
    gaps: dict[str, str] = field(default_factory=dict)
    """Why a network has no latency, by its name."""
    batch_size: int = 0
    rounds: int = 0


def time_in_turns(networks: Mapping[str, nn.Module], inputs: Tensor) -> Timing:
    """Times one pass of a batch through every network, in one interleaved run.

    Args:
        networks: on the CPU, by name.
        inputs: at least one, at best `MAX_BATCH`: (B, C, H, W) or (B, F).
    """
    total = sum(num_parameters(network) for network in networks.values())
    if total > MAX_PARAMETERS:
        reason = f"all networks together have {total:,} parameters, more than can be timed in turns"
        return Timing(gaps=dict.fromkeys(networks, reason))
    gaps = Gaps()
    once = {name: gaps.measured(name, partial(latency, {"": n}, inputs[:1], 1)) for name, n in networks.items()}
    seconds = [found[""].median_seconds for found in once.values() if found]
    size, rounds = affordable(sum(seconds))
    timing = Timing(gaps=gaps, batch_size=len(inputs[:size]), rounds=rounds)
    running = {name: network for name, network in networks.items() if name not in gaps}
    timed = gaps.measured("", partial(latency, running, inputs[:size], rounds))
    if timed is None:
        gaps.update(dict.fromkeys(running, gaps[""]))
    timing.latencies = timed or {}
    return timing


def affordable(seconds: float) -> tuple[int, int]:
    """Batch size and number of rounds that fit into `MAX_SECONDS`.

    Args:
        seconds: what all networks together take for one input; a batch takes at most its size times that.
    """
    per_round = {size: max(seconds, 1e-9) * size for size in BATCH_SIZES}
    fitting = [size for size in BATCH_SIZES if per_round[size] * (FEWEST_ROUNDS + WARM_UP_ROUNDS) <= MAX_SECONDS]
    size = fitting[0] if fitting else BATCH_SIZES[-1]
    return size, max(1, min(MOST_ROUNDS, int(MAX_SECONDS / per_round[size]) - WARM_UP_ROUNDS))


def machine() -> str:
    """The processor's name, where the operating system tells it, and the platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {platform.platform()}"
