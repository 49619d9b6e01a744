"""How many networks an hour does a device train, by precision and by workers that share it?

The pipeline of `pruneaudit run` on one device: worker processes train the same bank in every setting, in turn, after a
round to warm up that starts them. A rate counts samples of all models per second; models per hour are for the epochs of
--hour-epochs, of as many members, the queries not counted. The use of the GPU is nvidia-smi's, once a second, where
there is one: the share of time in which any kernel runs, which says little of how full the GPU is.

    python benchmarks/devices.py --device cuda --data-root ~/data --rounds 3
    python benchmarks/devices.py --device cpu --model tinycnn --source fashion_mnist_5k --workers 1 2 --rounds 1
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from bank import Trained, ours
from interleaved import Spread, load_average, machine, parser, table, take_turns

from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.splits import split_of
from pruneaudit.engine.processes import Processes
from pruneaudit.study import Study

PRECISIONS = ("float32", "bfloat16")


class Uses:
    """How busy the GPU was, in percent; empty where nobody says."""

    def __init__(self) -> None:
        self.percent: list[float] = []

    def __str__(self) -> str:
        return f"{statistics.mean(self.percent):.0f}%" if self.percent else "-"


@contextmanager
def watched(device: str) -> Iterator[Uses]:
    """Asks nvidia-smi once a second until the block ends."""
    found, over = Uses(), threading.Event()

    def ask() -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(1):
            answer = subprocess.run(query, capture_output=True, text=True).stdout.split()
            found.percent += [float(answer[0])] if answer and answer[0].isdigit() else []

    asks = device.startswith("cuda") and shutil.which("nvidia-smi")
    thread = threading.Thread(target=ask, daemon=True)
    if asks:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        if asks:
            thread.join()


def study_of(arguments: object, precision: str) -> Study:
    """The bank as a study."""
    given = vars(arguments)
    training = {"epochs": given["epochs"], "batch_size": given["batch_size"], "augment": "crop_flip"}
    return Study.model_validate(
        {
            "name": "devices",
            "data": {"source": given["source"]} | ({"num_samples": given["samples"]} if given["samples"] else {}),
            "membership": {"num_models": given["models"]},
            "model": {"name": given["model"]},
            "training": training | {"precision": precision},
        }
    )


def measured(study: Study, audit_data: AuditData, workers: Processes, device: str) -> tuple[Trained, Uses]:
    """One bank."""
    with watched(device) as uses:
        return ours(study, audit_data, workers, device), uses


def row(
    name: str, runs: Sequence[tuple[Trained, Uses]], visits: int, hour_epochs: float, num_models: int
) -> list[object]:
    """What a setting reached."""
    rates = Spread.of([visits / trained.seconds for trained, _ in runs])
    an_hour = 3600 * rates.median / (hour_epochs * visits / num_models)
    return [name, rates, f"{an_hour:.3g}", runs[-1][1], f"{100 * runs[-1][0].train_accuracy:.1f}", load_average()]


def main() -> None:
    options = parser(__doc__, 3)
    options.add_argument("--device", default="cuda")
    options.add_argument("--model", default="resnet18")
    options.add_argument("--source", default="cifar10")
    options.add_argument("--samples", type=int, help="default: all of the source")
    options.add_argument("--data-root", type=Path)
    options.add_argument("--models", type=int, default=4)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--hour-epochs", type=float, default=100)
    options.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4], metavar="N")
    options.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, metavar="P")
    given = options.parse_args()
    print(machine(), torch.cuda.get_device_name() if given.device.startswith("cuda") else "no GPU is used", sep="\n")
    study = study_of(given, "float32")
    audit_data = load_audit_data(study.data, study.seed, given.data_root)
    splits = [split_of(study.membership, study.seed, m, audit_data) for m in range(given.models)]
    visits = given.epochs * int(sum(split.member.sum() for split in splits))
    rows = []
    for num_workers in given.workers:
        with Processes(num_workers) as workers:
            variants = {
                precision: partial(measured, study_of(given, precision), audit_data, workers, given.device)
                for precision in given.precisions
            }
            take_turns(variants, 1)
            for precision, runs in take_turns(variants, given.rounds).items():
                name = f"{precision}, {num_workers} workers"
                rows.append(row(name, runs, visits, given.hour_epochs, given.models))
                print("  ".join(map(str, rows[-1])), flush=True)
    header = ["setting", "samples x models /s", f"models an hour, {given.hour_epochs:g} epochs"]
    print(f"\n{table([*header, 'GPU in use', 'training accuracy %', 'load'], rows)}")


if __name__ == "__main__":
    main()
