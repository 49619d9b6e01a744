"""Times the releases of a study in turns, in about two seconds.

Every finished study is timed, so batch size and rounds are chosen to limit the time.
"""

# B batch, C channels, H height, W width, F features

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import nn

from pruneaudit.compression.latency import Latency, latency
from pruneaudit.compression.macs import num_parameters
from pruneaudit.core.errors import in_one_line
from pruneaudit.data.inputs import Inputs, first_of, num_in

BATCH_SIZES = (32, 8, 1)
"""Sizes of the timed batch: the largest for which `FEWEST_ROUNDS` fit into `MAX_SECONDS`, otherwise the last."""
MAX_BATCH = max(BATCH_SIZES)
FEWEST_ROUNDS = 10
MOST_ROUNDS = 300
"""Passes of tiny networks take microseconds, so medians of only a few would vary by half."""
WARM_UP_ROUNDS = 2
MAX_SECONDS = 2.0
"""Maximum total time; more only if one round and its warm-up take longer even for one input."""
MAX_PARAMETERS = 500_000_000
"""Maximum total parameters: the timed networks are all in memory at once, so more are not timed."""


T = TypeVar("T")
MAX_REASON = 200
"""Maximum length of a reason, in characters."""


class Gaps(dict[str, str]):
    """The values that could not be measured, with one-line reasons."""

    def measured(self, what: str, measure: Callable[[], T]) -> T | None:
        """Returns the result of `measure`; None if it fails, with the reason stored under `what`."""
        try:
            return measure()
        except Exception as error:  # a user's network can raise anything
            self[what] = in_one_line(error, MAX_REASON)
            return None


@dataclass
class Timing:
    """Latencies, and the conditions of timing."""

    latencies: dict[str, Latency] = field(default_factory=dict)
    """Latencies by network name."""
    gaps: dict[str, str] = field(default_factory=dict)
    """Reasons for missing latencies, by network name."""
    batch_size: int = 0
    rounds: int = 0


def time_in_turns(networks: Mapping[str, nn.Module], inputs: Inputs) -> Timing:
    """Times one pass of a batch through every network, in one interleaved run.

    Args:
        networks: the networks on the CPU, by name.
        inputs: (B, C, H, W) or (B, F); at least one, ideally `MAX_BATCH`.
    """
    total = sum(num_parameters(network) for network in networks.values())
    if total > MAX_PARAMETERS:
        reason = f"all networks together have {total:,} parameters, more than can be timed in turns"
        return Timing(gaps=dict.fromkeys(networks, reason))
    gaps = Gaps()
    once = {
        name: gaps.measured(name, partial(latency, {"": n}, first_of(inputs, 1), 1)) for name, n in networks.items()
    }
    seconds = [found[""].median_seconds for found in once.values() if found]
    size, rounds = affordable(sum(seconds))
    timing = Timing(gaps=gaps, batch_size=num_in(first_of(inputs, size)), rounds=rounds)
    running = {name: network for name, network in networks.items() if name not in gaps}
    timed = gaps.measured("", partial(latency, running, first_of(inputs, size), rounds))
    if timed is None:
        gaps.update(dict.fromkeys(running, gaps[""]))
    timing.latencies = timed or {}
    return timing


def affordable(seconds: float) -> tuple[int, int]:
    """Returns the batch size and number of rounds that fit into `MAX_SECONDS`.

    Args:
        seconds: total time of all networks for one input; a batch takes at most its size times that.
    """
    per_round = {size: max(seconds, 1e-9) * size for size in BATCH_SIZES}
    fitting = [size for size in BATCH_SIZES if per_round[size] * (FEWEST_ROUNDS + WARM_UP_ROUNDS) <= MAX_SECONDS]
    size = fitting[0] if fitting else BATCH_SIZES[-1]
    return size, max(1, min(MOST_ROUNDS, int(MAX_SECONDS / per_round[size]) - WARM_UP_ROUNDS))


def machine() -> str:
    """Returns the processor's name, if the operating system reports it, and the platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {platform.platform()}"
