"""How long a study will take, from a probe: a few real training steps and queries of each kind, before any work.

What is counted: the steps of every training and fine-tuning, and every query. What is not: what a defence or a
pruning method does beside the steps, epochs that a training with patience leaves out, trainings by a function of the
user's, and the attacks (of those that learn, see `learning_probe.py`).
"""

# n samples of one model, N samples, B batch

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pruneaudit.core.identity import sha256_of
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.task_context import new_model
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import PREDICT_BATCH, predict
from pruneaudit.training.samples import Samples, Shuffled

PROBED_UNITS = 4
"""Steps of a round, or fourths of a batch of queries."""
PROBED_SECONDS = 0.5
"""A probe is repeated until it has taken so long."""
MAX_ROUNDS = 20
SECONDS_PER_TASK = 0.05
"""Reading and writing files, and the accuracies that every model is given."""
_PLAIN = {"epochs": 1, "schedule": "constant", "milestones": (), "select": "last", "patience": None}


@dataclass
class Probe:
    """Measures, and remembers what it has measured."""

    audit_data: AuditData
    device: str = "cpu"
    _measured: dict[str, float] = field(default_factory=dict)

    def step(self, spec: Mapping[str, Any], training: Training) -> float:
        """Seconds of one training step of the network in `spec` with these settings."""
        shape = training.model_copy(update=_PLAIN)
        key = sha256_of(["step", spec["model"], spec.get("prepared", []), shape.model_dump(mode="json")])
        return self.once(key, lambda: self._timed_steps(spec, shape))

    def query(self, spec: Mapping[str, Any]) -> float:
        """Seconds that the network in `spec` needs to answer one sample."""
        return self.once(sha256_of(["query", spec["model"]]), lambda: self._timed_query(spec, None))

    def sensitivity(self, spec: Mapping[str, Any]) -> float:
        """Seconds that the sensitivity of one sample takes."""
        return self.once(sha256_of(["sensitivity", spec["model"]]), lambda: self._timed_query(spec, spec["model_id"]))

    def once(self, key: str, measure: Callable[[], float]) -> float:
        """What `measure` finds, in seconds, on one thread; called a second time with `key`, what was found before."""
        if key not in self._measured:
            with one_torch_thread():  # as workers have it
                self._measured[key] = measure()
        return self._measured[key]

    def _timed_steps(self, spec: Mapping[str, Any], settings: Training) -> float:
        def work(num_batches: int) -> int:
            num_samples = min(num_batches * settings.batch_size, len(self.audit_data.y))
            network = new_model(spec, self.audit_data, torch.Generator().manual_seed(0)).to(self.device)
            train(network, self._samples(num_samples), settings, torch.Generator().manual_seed(0))
            return Shuffled(num_samples, settings.batch_size).num_batches

        return seconds_each(work, self.device)

    def _timed_query(self, spec: Mapping[str, Any], noise_of: int | None) -> float:
        network = new_model(spec, self.audit_data, torch.Generator().manual_seed(0)).to(self.device)

        def work(num_samples: int) -> int:
            samples = self._samples(min(num_samples * PREDICT_BATCH // PROBED_UNITS, len(self.audit_data.y)))
            if noise_of is None:
                predict(network, samples)
            else:
                sensitivity(network, samples, 0, noise_of)
            return len(samples)

        return seconds_each(work, self.device)

    def _samples(self, number: int) -> Samples:
        chosen = np.arange(len(self.audit_data.y)) < number
        return Samples.of(self.audit_data, chosen, self.device)


def seconds_each(work: Callable[[int], int], device: str) -> float:
    """Seconds of one unit of work: the shortest of several rounds, the first and smallest one not counted.

    On a CPU in processor time of the one thread, which others on the machine hardly change; on a GPU in wall time.
    Where the first round takes long already, the second one is as small, and the answer.

    Args:
        work: does about so many units, and says how many.
        device: where it is done.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter

    def timed(units: int) -> tuple[float, float]:
        start = clock()
        done = work(units)
        if device != "cpu":
            torch.cuda.synchronize()
        return clock() - start, (clock() - start) / done

    spent, _ = timed(1)  # the first call of an operation also prepares it, which may take longer than the operation
    if spent > PROBED_SECONDS:
        return timed(1)[1]
    found: list[float] = []
    while not found or (spent < PROBED_SECONDS and len(found) < MAX_ROUNDS):
        seconds, each = timed(PROBED_UNITS)
        spent += seconds
        found.append(each)
    return min(found)


def task_seconds(plan: Plan, tasks: Sequence[Task], probe: Probe) -> float:
    """Seconds that tasks take one after the other.

    Args:
        plan: the study's.
        tasks: those that are still to be done.
        probe: measures what has not been measured yet.
    """
    num_samples = len(probe.audit_data.y)
    audited = num_samples - int(probe.audit_data.unseen.sum())
    # Half of what a model may be trained on; under `disjoint` that is half of the audit data itself.
    members = audited / (2 if plan.study.membership.protocol == "pooled" else 4)
    total = 0.0
    for task in tasks:
        spec = task.spec
        total += SECONDS_PER_TASK
        settings = spec.get("training") if task.action == "train" else spec.get("finetune")
        training = Training.model_validate(settings) if settings else None
        if task.action in ("train", "release") and training and not training.function:
            steps = Shuffled(max(1, round(members)), training.batch_size).num_batches * training.epochs
            total += steps * probe.step(spec, training)
        elif task.action == "signals":
            total += spec["queries"] * num_samples * probe.query(spec)
        elif task.action == "sensitivity":
            total += num_samples * probe.sensitivity(spec)
    return total
