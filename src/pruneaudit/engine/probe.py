"""Estimates the time of a study from a probe: a few real training steps and queries of each kind.

The estimate covers the steps of every training and fine-tuning, and every query. It does not cover the extra work of
defences and pruning methods, epochs that early stopping saves, trainings by a user's function, and the attacks (for
learned attacks, see `learning_probe.py`).
"""

# n samples of one model, N samples, B batch

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from pruneaudit.core.identity import sha256_of
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import AuditData, holdout_halves
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.task_context import NewNetworks
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.signals.start_saliency import start_saliency
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import PREDICT_BATCH, predict
from pruneaudit.training.samples import Samples, Shuffled

PROBED_UNITS = 4
"""Steps per round, or quarters of a batch of queries."""
PROBED_SECONDS = 0.5
"""Minimum total time of a probe, which is repeated until then."""
MAX_ROUNDS = 20
SECONDS_PER_TASK = 0.05
"""Time for reading and writing files, and for the accuracies of a model."""
FEW, MORE = 4, 12
"""Samples of two batches from which the time of a whole batch follows, for networks that take long."""
_PLAIN = {
    **{"epochs": 1, "schedule": "constant", "milestones": (), "select": "last", "patience": None, "keep_early": None},
    "learning_rate": 1e-6,  # no step takes longer at another rate, and none diverges at this one
}


@dataclass
class Probe:
    """Measures times, and caches them."""

    audit_data: AuditData
    device: str = "cpu"
    _measured: dict[str, float] = field(default_factory=dict)
    _networks: NewNetworks = field(init=False)

    def __post_init__(self) -> None:
        self._networks = NewNetworks(self.audit_data)

    def step(self, spec: Mapping[str, Any], training: Training) -> float:
        """Returns the seconds of one training step of the network in `spec` with these settings."""
        shape = training.model_copy(update=_PLAIN)
        key = sha256_of(["step", spec["model"], spec.get("prepared", []), shape.model_dump(mode="json")])
        return self.once(key, lambda: self._timed_steps(spec, shape))

    def query(self, spec: Mapping[str, Any]) -> float:
        """Returns the seconds that the network in `spec` needs per sample."""
        return self.once(sha256_of(["query", spec["model"]]), lambda: self._timed_query(spec, None))

    def sensitivity(self, spec: Mapping[str, Any]) -> float:
        """Returns the seconds that the sensitivity of one sample takes."""
        return self.once(sha256_of(["sensitivity", spec["model"]]), lambda: self._timed_query(spec, spec["model_id"]))

    def start_saliency(self, spec: Mapping[str, Any]) -> float:
        """Returns the seconds that the start saliency of one sample takes."""
        return self.once(sha256_of(["start saliency", spec["model"]]), lambda: self._timed_saliency(spec))

    def once(self, key: str, measure: Callable[[], float]) -> float:
        """Returns the seconds that `measure` finds, on one thread; cached by `key`."""
        if key not in self._measured:
            with one_torch_thread():  # as in workers
                self._measured[key] = measure()
        return self._measured[key]

    def _timed_steps(self, spec: Mapping[str, Any], settings: Training) -> float:
        network, batch = self._network(spec), settings.batch_size

        def work(num_batches: int, batch_size: int = batch) -> int:
            num_samples = min(num_batches * batch_size, len(self.audit_data.y))
            shape = settings.model_copy(update={"batch_size": batch_size})
            train(network, self._samples(num_samples), shape, torch.Generator().manual_seed(0))
            return Shuffled(num_samples, batch_size).num_batches

        return self._foreseen(lambda size: work(1, size), batch) or seconds_each(work, self.device)

    def _timed_query(self, spec: Mapping[str, Any], noise_of: int | None) -> float:
        network = self._network(spec)

        def asked(num_samples: int) -> None:
            samples = self._samples(num_samples)
            if noise_of is None:
                predict(network, samples)
            else:
                sensitivity(network, samples, 0, noise_of)

        return self._each_sample(asked)

    def _timed_saliency(self, spec: Mapping[str, Any]) -> float:
        network = self._network(spec)
        kept = {name: weight.detach().cpu() > 0 for name, weight in network.named_parameters() if weight.ndim > 1}
        return self._each_sample(lambda num_samples: start_saliency(network, self._samples(num_samples), kept))

    def _each_sample(self, asked: Callable[[int], object]) -> float:
        """Returns the seconds per sample of `asked`, which is given a number of samples."""
        batch = PREDICT_BATCH // PROBED_UNITS

        def work(num_batches: int) -> int:
            num_samples = min(num_batches * batch, len(self.audit_data.y))
            asked(num_samples)
            return num_samples

        foreseen = self._foreseen(asked, batch)
        return foreseen / batch if foreseen else seconds_each(work, self.device)

    def _foreseen(self, work: Callable[[int], object], batch: int) -> float | None:
        """Returns the seconds of a batch, from two smaller ones; None if measuring the batch itself is quick enough.

        Only on CPUs, where time grows with the batch.

        Args:
            work: does the work of so many samples.
            batch: the samples of the batch.
        """
        if self.device != "cpu" or batch <= MORE or len(self.audit_data.y) < MORE:
            return None

        def seconds(num_samples: int) -> float:
            start = time.thread_time()
            work(num_samples)
            return time.thread_time() - start

        seconds(FEW)  # the first call of an operation also prepares it
        few = seconds(FEW)
        if few * batch / FEW < PROBED_SECONDS:
            return None
        more = seconds(MORE)
        each = (more - few) / (MORE - FEW)
        return few + each * (batch - FEW) if each > 0 else more * batch / MORE

    def _network(self, spec: Mapping[str, Any]) -> nn.Module:
        return self._networks.of(spec).to(self.device)

    def _samples(self, number: int) -> Samples:
        chosen = np.arange(len(self.audit_data.y)) < number
        return Samples.of(self.audit_data, chosen, self.device)


def seconds_each(work: Callable[[int], int], device: str) -> float:
    """Returns the seconds of one unit of work: the shortest of several rounds, without the first and smallest one.

    Uses processor time on a CPU, which depends little on other processes, and wall time on a GPU. If the first round is
    slow already, returns the time of a second, equally small round.

    Args:
        work: does about the given number of units, and returns the exact number.
        device: the device of the work.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter

    def timed(units: int) -> tuple[float, float]:
        start = clock()
        done = work(units)
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - start, (clock() - start) / done

    spent, _ = timed(1)  # the first call of an operation also prepares it, which can take longer
    if spent > PROBED_SECONDS:
        return timed(1)[1]
    found: list[float] = []
    while not found or (spent < PROBED_SECONDS and len(found) < MAX_ROUNDS):
        seconds, each = timed(PROBED_UNITS)
        spent += seconds
        found.append(each)
    return min(found)


def task_seconds(plan: Plan, tasks: Sequence[Task], probe: Probe) -> float:
    """Estimates the seconds of tasks that run one after the other.

    Args:
        plan: the plan of the study.
        tasks: the tasks that are still to do.
        probe: measures on demand.
    """
    found: dict[tuple[str, str], float] = {}
    counts = Counter((task.action, task.release) for task in tasks)
    for task in tasks:  # the models of a release take equally long
        if (task.action, task.release) not in found:
            found[task.action, task.release] = _seconds_of(plan, task, probe)
    return sum(count * (SECONDS_PER_TASK + found[kind]) for kind, count in counts.items())


def _seconds_of(plan: Plan, task: Task, probe: Probe) -> float:
    """Estimates the seconds of one task, but for `SECONDS_PER_TASK`."""
    num_samples = len(probe.audit_data.y)
    # Half of the eligible samples; under `disjoint` half of the audit data is eligible.
    eligible = int(probe.audit_data.coined.sum()) / (2 if plan.study.membership.protocol == "disjoint" else 1)
    members = eligible / 2 + int(probe.audit_data.is_kept.sum())
    num_fitting = int(holdout_halves(probe.audit_data.holdout, probe.audit_data.ids)[0].sum())  # at most
    spec = task.spec
    if task.action in ("train", "release"):
        settings = spec["training"] if task.action == "train" else spec["finetune"]
        training = Training.model_validate(settings) if settings else None
        if training is None or training.function:
            return 0.0
        seen = int(probe.audit_data.public.sum()) if task.trains_base else round(members)
        steps = Shuffled(max(1, seen), training.batch_size).num_batches * training.epochs
        return steps * probe.step(spec, training)
    if task.action == "signals":
        return float(spec["queries"] * num_samples * probe.query(spec))
    if task.action == "sensitivity":
        return num_samples * probe.sensitivity(spec)
    if task.action == "start_saliency":
        return num_samples * probe.start_saliency(spec)
    if task.action == "forgetting":
        training = Training.model_validate(spec["training"])
        steps = Shuffled(max(1, num_fitting), training.batch_size).num_batches * training.epochs
        return steps * probe.step(spec, training) + num_samples * probe.query(spec)
    return 0.0
