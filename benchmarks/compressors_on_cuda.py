"""Do compressors choose the same on a GPU as on a CPU, and does what they store rebuild the weights there?

One network is trained on the CPU. Every compressor then gets an equal copy on each device, with the same random draws,
and trains it for an epoch with its hooks. Compared is the stored state before that epoch: the share of masks, codes and
indices that are equal, and the largest difference of other numbers. Sums over samples differ in the last digits between
devices, so a weight that lies between two codes can get either.

    python benchmarks/compressors_on_cuda.py --device cuda
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.state import not_rebuilt
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.models import build_model
from pruneaudit.study import Plugin, Study, Training
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples

METHODS = (
    *("l1unstructured:sparsity=0.7", "random:sparsity=0.7", "lamp:sparsity=0.7", "wanda:sparsity=0.5"),
    *("snip:sparsity=0.7", "synflow:sparsity=0.7", "sparsegpt:sparsity=0.5", "obc:sparsity=0.5"),
    *(
        "static:sparsity=0.7",
        "dpf:sparsity=0.7",
        "gradual:sparsity=0.7",
        "iterative:sparsity=0.7",
        "rigl:sparsity=0.7:period_steps=5",
    ),
    *("l1structured:sparsity=0.5", "l2structured:sparsity=0.5", "slim:sparsity=0.5", "nm:pattern=2:4"),
    *("rtn:bits=4", "rtn:bits=ternary", "gptq:bits=3", "qat:bits=4", "static8", "kmeans:clusters=16"),
    *("svd:fraction=0.5", "distil:data=members"),
)
EXACT = ("mask", "codes", "index", "structure")
LEAST_EQUAL = 0.99
"""Least share of equal masks, codes and indices."""


@dataclass(frozen=True)
class Made:
    """One compressed network."""

    state: Mapping[str, Tensor]
    """Before any training."""
    broken: Sequence[str]
    """Parameters that the state does not rebuild, before or after training."""
    accuracy: float
    """After an epoch of training, in [0, 1]."""
    seconds: float
    """For the compression alone."""


class Bench:
    """The trained network, and samples, on every device."""

    def __init__(self, num_samples: int, epochs: int) -> None:
        data = {"source": "fashion_mnist_5k", "num_samples": num_samples, "num_holdout": 500}
        self.study = Study.model_validate({"name": "cuda", "data": data, "model": {"name": "tinycnn"}})
        self.audit_data: AuditData = load_audit_data(self.study.data, self.study.seed, None)
        self.dense = self.new()
        settings = Training(epochs=epochs, learning_rate=0.05, batch_size=64)
        train(self.dense, self.samples("cpu"), settings, torch.Generator().manual_seed(0))

    def new(self) -> nn.Module:
        """A network with its initial weights."""
        model, shape = self.study.model, tuple(self.audit_data.x.shape[1:])
        draws = torch.Generator().manual_seed(1)
        return build_model(model.name, model.options, shape, self.audit_data.num_classes, draws)

    def samples(self, device: str, holdout: bool = False) -> Samples:
        """All samples, or those of the holdout."""
        part = self.audit_data.holdout if holdout else ~self.audit_data.holdout
        return Samples.of(self.audit_data, np.asarray(part), device)

    def made(self, step: Step, device: str) -> Made:
        """Compresses a copy of the network on a device, then trains it."""
        members, holdout = self.samples(device), self.samples(device, holdout=True)
        settings = Training(epochs=1, learning_rate=0.01, batch_size=64)

        def train_phase(model: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
            train(model, members, settings, torch.Generator().manual_seed(2), hooks)

        def new() -> nn.Module:
            return self.new().to(device)

        def context_of(number: int) -> CompressionContext:
            draws, example = torch.Generator().manual_seed(3), members.inputs(slice(0, 1))
            calibration = Samples(holdout.stored[:256], holdout.y[:256])
            teacher = copy.deepcopy(self.dense).to(device)
            return CompressionContext(example, draws, train_phase, new, samples=calibration, teacher=teacher)

        start = time.perf_counter()
        made = compressed(Chained(copy.deepcopy(self.dense).to(device)), [step], context_of)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        state = made.state()
        broken = not_rebuilt(made.model, state)
        train(made.model, members, settings, torch.Generator().manual_seed(4), made.hooks)
        made.settle(False)
        broken += not_rebuilt(made.model, made.state())
        return Made(state, broken, accuracy(made.model, holdout), seconds)


def compared(one: Made, other: Made) -> tuple[float, float]:
    """The share of equal masks, codes and indices (1 without any), and the largest other difference."""
    equal, total, largest = 0, 0, 0.0
    for key, value in one.state.items():
        twin = other.state[key].cpu()
        if key.split("/")[0] in EXACT:
            same = value.cpu() == twin if value.shape == twin.shape else torch.zeros(value.shape, dtype=torch.bool)
            equal, total = equal + int(same.sum()), total + same.numel()
        elif value.shape == twin.shape and value.numel() and value.is_floating_point():
            largest = max(largest, float((value.cpu() - twin).abs().max()))
    return (equal / total if total else 1.0), largest


def main() -> int:
    """Compares every method on both devices; returns 1 if one fails."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--device", default="cuda", help="the device to compare with the CPU (default: cuda)")
    asked.add_argument("--samples", type=int, default=2000, help="training samples (default: 2000)")
    asked.add_argument("--epochs", type=int, default=5, help="epochs of the dense network (default: 5)")
    given = asked.parse_args()
    torch.set_num_threads(1)
    bench, failed = Bench(given.samples, given.epochs), []
    print(f"torch {torch.__version__}, {given.device}, dense {accuracy(bench.dense, bench.samples('cpu', True)):.3f}")
    print(f"{'method':30} {'equal':>8} {'largest':>9} {'CPU acc.':>9} {'acc.':>6} {'CPU s':>7} {'s':>7}")
    for text in METHODS:
        plugin = Plugin.model_validate(text)
        if plugin.name not in COMPRESSORS.names():
            print(f"{text:30} not there")
            continue
        options = COMPRESSORS.get(plugin.name).Options.model_validate(plugin.options)
        step = Step.of({"name": plugin.name, "options": options.model_dump(mode="json")})
        here, there = bench.made(step, "cpu"), bench.made(step, given.device)
        equal, largest = compared(here, there)
        is_fine = equal >= LEAST_EQUAL and not here.broken and not there.broken
        failed += [] if is_fine else [text]
        print(
            f"{text:30} {equal:8.5f} {largest:9.2e} {here.accuracy:9.3f} {there.accuracy:6.3f} {here.seconds:7.3f}"
            f" {there.seconds:7.3f}{'' if is_fine else '  FAILED ' + ', '.join({*here.broken, *there.broken})}",
            flush=True,
        )
    print(f"failed: {', '.join(failed)}" if failed else "all fine")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
