"""How many samples x models a second does bank training reach, beside the plain loop that published code uses?

Both train the same bank: the same samples of every model, as many batches of the same size, the same network with the
same first weights, the same learning rate, crop and flip of every image; both end by measuring the accuracy on
members and non-members.

plain   one process; one model after another; a DataLoader over per-sample transforms; contiguous tensors; SGD that is
        not fused. As published code has it: torch's default number of threads, and loader workers (two). Beside it the
        same loop without loader workers, and with one thread; a second ratio is to the fastest of them all.
ours    what `pruneaudit run` does: the audit data on disk, two worker processes of one thread each, batched
        augmentation, channels-last, fused SGD, checked and sealed files at the end; float32 as the plain loop, and
        once more with `training.precision = "bfloat16"`, which is other work, and pays on processors with AMX

Seconds are wall time, as whoever waits for a bank has it. Beside them stands the ratio of CPU seconds of all processes
and threads (thriftiest plain loop to ours): it says what one core gains, and holds on a busy machine too, where two
processes cannot have two cores.

Starting interpreters is left out on both sides: our workers stand ready. The plain loop's loader workers, which are
forks, start once per model and stay.

    python benchmarks/bank.py
    python benchmarks/bank.py --rounds 5 --cases tinycnn convnet
    python benchmarks/bank.py --plain threads=1,workers=0 threads=1,workers=2

The last line is for a busy machine: there torch's threads wait for each other so long that a plain loop with several of
them, ten times slower and more, is no fair opponent.
"""

# M models, N samples, C channels, H height, W width

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from interleaved import Spread, load_average, machine, parser, ratios, table, take_turns
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pruneaudit.core import seeds
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.membership import draw_membership, write_membership
from pruneaudit.data.splits import split_of
from pruneaudit.engine.plan import Plan, make_plan
from pruneaudit.engine.processes import Processes
from pruneaudit.engine.progress import Silent
from pruneaudit.engine.scheduler import carry_out
from pruneaudit.engine.store import Store
from pruneaudit.models import build_model
from pruneaudit.study import DENSE, Study

PADDING = 4
NUM_PROCESSES = 2
BATCH_SIZE = 64
LOW = "ours, bfloat16"
ALL_THREADS = torch.get_num_threads()
PLAIN = {
    f"threads={threads},workers={workers}": (threads, workers) for threads in (ALL_THREADS, 1) for workers in (2, 0)
}
"""Threads of the training process, and loader workers; the first is the loop as published code runs it."""


@dataclass(frozen=True)
class Case:
    """A bank to be trained."""

    model: str
    num_models: int
    num_samples: int
    """Of the audit data; half of them are members of each model."""
    epochs: int
    target: float
    """The ratio to reach; 0: none is set."""
    augment: str = "crop_flip"
    is_cifar_shaped: bool = False
    """Random 3x32x32 images instead of the embedded Fashion-MNIST."""


CASES = {
    "mlp": Case("mlp", 4, 4000, 4, 4.0),
    "mlp, no augmentation": Case("mlp", 4, 4000, 4, 0.0, augment="none"),
    "tinycnn": Case("tinycnn", 4, 2000, 4, 3.0),
    "convnet": Case("convnet", 4, 500, 3, 1.5),
    "resnet20": Case("resnet20", 4, 500, 3, 1.4),
    "resnet18": Case("resnet18", 2, 256, 1, 0.0, is_cifar_shaped=True),
}


def study_of(case: Case, folder: Path) -> Study:
    """The bank as a study."""
    source: object = "fashion_mnist_5k"
    if case.is_cifar_shaped:
        rng = np.random.default_rng(0)
        x = rng.integers(256, size=(case.num_samples, 3, 32, 32), dtype=np.uint8)
        np.savez(folder / "random.npz", x=x, y=np.arange(case.num_samples) % 10)
        source = {"name": "npz", "options": {"path": str(folder / "random.npz")}}
    training = {"epochs": case.epochs, "batch_size": BATCH_SIZE, "learning_rate": 0.05, "schedule": "constant"}
    return Study.model_validate(
        {
            "name": "bench",
            "data": {"source": source, "num_samples": case.num_samples},
            "membership": {"num_models": case.num_models},
            "model": {"name": case.model},
            "training": training | {"augment": case.augment},
        }
    )


class PerSample(Dataset):
    """One image at a time: brought to [0, 1], normalised, cropped and flipped, as pipelines of transforms do."""

    def __init__(self, audit_data: AuditData, chosen: np.ndarray, augments: bool) -> None:
        self.rows, self.augments = np.flatnonzero(chosen), augments
        self.x, self.y = audit_data.x, audit_data.y
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (audit_data.mean, audit_data.std))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.rows[index]
        x = (torch.from_numpy(self.x[row]).float() / 255 - self.mean) / self.std  # (C, H, W)
        return self.augmented(x) if self.augments else x, int(self.y[row])

    def augmented(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:]
        x = nn.functional.pad(x, (PADDING,) * 4)
        top, left = torch.randint(0, 2 * PADDING + 1, (2,)).tolist()
        x = x[:, top : top + height, left : left + width]
        return x.flip(2) if torch.rand(()) < 0.5 else x


@dataclass(frozen=True)
class Trained:
    """What a side needed and reached."""

    seconds: float
    cpu: float
    """CPU seconds of all processes and threads; NaN where the system does not tell."""
    train_accuracy: float
    """Mean over models, in [0, 1]."""


def cpu_seconds() -> float:
    """Of this process, of its children that have ended, and (Linux) of those that live."""
    times = os.times()
    here = Path("/proc/self/task")
    if not here.exists():
        return float("nan")
    living = [pid for file in here.glob("*/children") for pid in file.read_text().split()]
    ticks = 0
    for pid in living:
        with contextlib.suppress(OSError):  # it has just ended
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return sum(times[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def plain(study: Study, audit_data: AuditData, num_threads: int, num_workers: int) -> Trained:
    """The bank by the plain loop."""
    torch.set_num_threads(num_threads)
    accuracies = []
    start, cpu = time.perf_counter(), cpu_seconds()
    for model_id in range(study.membership.num_models):
        split = split_of(study.membership, study.seed, model_id, audit_data)
        model = build_model(
            study.model.name,
            study.model.options,
            audit_data.x.shape[1:],
            audit_data.num_classes,
            torch_generator(study.seed, seeds.INITIALISE, model_id),
        )
        members = PerSample(audit_data, split.member, study.training.augment != "none")
        plain_training(model, loader(members, num_workers, shuffle=True), study)
        known = PerSample(audit_data, split.member, False), PerSample(audit_data, ~split.member, False)
        train_accuracy, _ = (plain_accuracy(model, loader(part, 0)) for part in known)
        accuracies.append(train_accuracy)
    return Trained(time.perf_counter() - start, cpu_seconds() - cpu, float(np.mean(accuracies)))


def loader(samples: PerSample, num_workers: int, shuffle: bool = False) -> DataLoader:
    return DataLoader(
        samples, batch_size=BATCH_SIZE, shuffle=shuffle, num_workers=num_workers, persistent_workers=num_workers > 0
    )


def plain_training(model: nn.Module, batches: DataLoader, study: Study) -> None:
    settings = study.training
    optimizer = torch.optim.SGD(
        model.parameters(), settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    model.train()
    for _ in range(settings.epochs):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


@torch.no_grad()
def plain_accuracy(model: nn.Module, batches: DataLoader) -> float:
    model.eval()
    hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    return hits / len(batches.dataset)


def ours(study: Study, audit_data: AuditData, workers: Processes, device: str = "cpu") -> Trained:
    """The bank as `pruneaudit run` trains it, in a run folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), cpu_seconds()
        whole = make_plan(study, audit_data)
        plan = Plan(study, whole.audit_data, tuple(whole.of("train", DENSE)))
        store = Store(Path(folder))
        store.open_for_writing()
        write_membership(store.root, draw_membership(study, audit_data), audit_data)
        work = carry_out(plan, audit_data, store, workers, device, Silent(), checkpoint_seconds=60)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        assert not work.failures and work.num_done == len(plan.tasks), work.failures
        summaries = [json.loads((store.path(task.artifact) / "summary.json").read_text()) for task in plan.tasks]
    return Trained(seconds, cpu, float(np.mean([summary["train_accuracy"] for summary in summaries])))


def measured(name: str, sides: Sequence[str], num_rounds: int, workers: Processes) -> list[object]:
    """The row of one case, after a round to warm up."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(case, Path(folder))
        audit_data = load_audit_data(study.data, study.seed)
    splits = [split_of(study.membership, study.seed, m, audit_data) for m in range(case.num_models)]
    visits = case.epochs * int(sum(split.member.sum() for split in splits))
    variants = {how: partial(plain, study, audit_data, *PLAIN[how]) for how in sides}
    variants["ours"] = partial(ours, study, audit_data, workers)
    low = study.model_copy(update={"training": study.training.model_copy(update={"precision": "bfloat16"})})
    variants[LOW] = partial(ours, low, audit_data, workers)
    take_turns(variants, 1)
    found = take_turns(variants, num_rounds)
    seconds = {side: [trained.seconds for trained in runs] for side, runs in found.items()}
    fastest = min(sides, key=lambda side: Spread.of(seconds[side]).median)
    rates = [Spread.of([visits / value for value in values]) for values in seconds.values()]
    cpu = {side: [trained.cpu for trained in runs] for side, runs in found.items()}
    thriftiest = min(sides, key=lambda side: Spread.of(cpu[side]).median)
    accuracy = [f"{100 * found[side][0].train_accuracy:.1f}" for side in (fastest, "ours", LOW)]
    return [
        *(f"`{name}`", f"{case.num_models} x {case.num_samples // 2:,} x {case.epochs}", *rates),
        *(f"**{ratios(seconds[sides[0]], seconds['ours'])}**", f">= {case.target:g}" if case.target else "-"),
        *(ratios(seconds[fastest], seconds["ours"]), fastest, ratios(cpu[thriftiest], cpu["ours"])),
        ratios(seconds[sides[0]], seconds[LOW]),
        *(" / ".join(accuracy), load_average()),
    ]


def main() -> None:
    arguments = parser(__doc__, 3)
    arguments.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    arguments.add_argument(
        "--plain", nargs="+", choices=PLAIN, default=list(PLAIN), metavar="HOW", help=", ".join(PLAIN)
    )
    chosen = arguments.parse_args()
    print(f"{machine()}\nplain: all threads are {ALL_THREADS}; ours: {NUM_PROCESSES} processes of 1 thread")
    header = [
        *("bank", "models x members x epochs", *(f"plain, {how} /s" for how in chosen.plain), "ours /s", f"{LOW} /s"),
        *(f"ratio to {chosen.plain[0]}", "target", "ratio to the fastest plain", "which is", "ratio of CPU seconds"),
        *(f"ratio of {LOW}", "training accuracy, plain / ours / bfloat16 %", "load"),
    ]
    with Processes(NUM_PROCESSES) as workers:
        rows = []
        for name in chosen.cases:
            rows.append(measured(name, chosen.plain, chosen.rounds, workers))
            print("  ".join(map(str, rows[-1])), flush=True)
    print(f"\nsamples x models per second, median [min, max] of {chosen.rounds} rounds\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
