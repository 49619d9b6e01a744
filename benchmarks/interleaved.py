"""What all benchmarks share: taking turns, medians with min and max, tables, growth exponents, the machine.

Variants are timed in turn within one run, round by round, so that whatever else the machine does falls on all of
them alike. Ratios are taken within a round.
"""

# R rounds

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TypeVar

# NumPy and SciPy are imported in the functions: a process that starts others stays small, or its memory would count.

Result = TypeVar("Result")


@dataclass(frozen=True)
class Spread:
    """What was measured over the rounds."""

    median: float
    low: float
    """The smallest."""
    high: float
    """The largest."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value or more."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{shown(self.median)} [{shown(self.low)}, {shown(self.high)}]"


def shown(value: float) -> str:
    """A number with three digits, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def take_turns(variants: Mapping[str, Callable[[], Result]], num_rounds: int) -> dict[str, list[Result]]:
    """Runs every variant once a round.

    Args:
        variants: what is run, by name.
        num_rounds: R >= 1.

    Returns:
        R results by name; each round begins with another variant, so that none is always the first.
    """
    names = list(variants)
    found: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(num_rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(variants[name]())
    return found


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times as long one takes as the other, round by round."""
    return Spread.of([above / below for above, below in zip(slow, fast, strict=True)])


@dataclass(frozen=True)
class Exponent:
    """b in cost = a size^b, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> Exponent:
    """The growth exponent: least squares in logarithms, interval from Student's t with (number of sizes - 2) degrees.

    Args:
        sizes: three or more, positive, not all equal.
        costs: as many, positive.
    """
    import numpy as np
    from scipy import stats

    if len(sizes) < 3:
        raise ValueError(f"got {len(sizes)} sizes, expected 3 or more: two points leave no residual for an interval")
    fit = stats.linregress(np.log(sizes), np.log(costs))
    half = float(stats.t.ppf(0.975, len(sizes) - 2)) * float(fit.stderr)
    return Exponent(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def load_average() -> str:
    """How busy the machine was in the last minute, as programs that wanted a core; a dash where nobody counts."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "-"


def machine() -> str:
    """Date, processor, cores, versions and load, in a line."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy"))
    return (
        f"{date.today()}; {names[0] if names else platform.processor()}, {platform.machine()},"
        f" {os.cpu_count()} cores; Python {platform.python_version()}, {versions}; load {load_average()}"
    )


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def peak_memory() -> float:
    """Highest resident memory of this process so far, in MB."""
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 1e6 if sys.platform == "darwin" else highest * 1024 / 1e6


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds (all threads) of a block, by how many MB it raised the peak of memory, and that peak."""
    found: dict[str, float] = {}
    wall, cpu, memory = time.perf_counter(), time.process_time(), peak_memory()
    yield found
    found["wall"], found["cpu"] = time.perf_counter() - wall, time.process_time() - cpu
    found["added"], found["peak"] = peak_memory() - memory, peak_memory()


def in_fresh_interpreter(script: str, *arguments: object) -> str:
    """What a script prints, run with some arguments in an interpreter of its own: its peak of memory is its own too."""
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def parser(documentation: str | None, num_rounds: int) -> argparse.ArgumentParser:
    """A command line with `--rounds`."""
    made = argparse.ArgumentParser(description=(documentation or "").splitlines()[0])
    made.add_argument("--rounds", type=int, default=num_rounds, help="default: %(default)s")
    return made
