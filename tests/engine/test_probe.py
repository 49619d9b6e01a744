"""The estimate of a study's time adds up what was measured, task by task."""

from __future__ import annotations

import time

import pytest
import torch

from pruneaudit.engine import probe as probe_module
from pruneaudit.engine.probe import MAX_ROUNDS, MORE, PROBED_UNITS, SECONDS_PER_TASK, Probe, seconds_each, task_seconds
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study


@pytest.fixture(autouse=True)
def usual_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures as users do, not as briefly as other tests."""
    monkeypatch.setattr(probe_module, "MAX_ROUNDS", MAX_ROUNDS)


def study(**changed: object) -> Study:
    values = {
        "name": "timed",
        "data": {"source": "digits", "num_samples": 320, "num_holdout": 40},
        "membership": {"num_models": 4},
        "model": "mlp",
        "training": {"epochs": 3, "batch_size": 32},
        "releases": [{"name": "plain", "compress": "l1unstructured", "sparsity": 0.5}],
        "audit": {"attacks": ["loss"]},
    }
    return Study.model_validate(values | changed)


class Counted(Probe):
    """Says that a step takes 1 s and a query 0.001 s."""

    def step(self, spec, training):  # type: ignore[no-untyped-def]
        return 1.0

    def query(self, spec):  # type: ignore[no-untyped-def]
        return 0.001

    def sensitivity(self, spec):  # type: ignore[no-untyped-def]
        return 0.01


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # 160 members are 5 batches, 3 epochs; 4 models; no fine-tuning; 2 x 4 queries of 360 samples
        ({}, 4 * 15 + 8 * 0.36),
        # 2 epochs of fine-tuning: 10 steps more a model, and the same of its baseline, which has queries too
        (
            {
                "releases": [
                    {"name": "tuned", "compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 2}},
                ]
            },
            4 * 15 + 8 * 10 + 12 * 0.36,
        ),
        # disjoint: 80 members are 2 whole batches and a rest, so 3
        (
            {"membership": {"num_models": 4, "protocol": "disjoint", "num_shadows": 1}, "releases": []},
            4 * 9 + 4 * 0.36,
        ),
        # SAMIA asks for sensitivity: 2 x 4 times 360 samples
        ({"audit": {"attacks": ["samia"]}}, 4 * 15 + 8 * 0.36 + 8 * 3.6),
    ],
)
def test_steps_and_queries_are_counted(changed: dict[str, object], expected: float) -> None:
    plan, audit_data = plan_study(study(**changed))
    found = task_seconds(plan, plan.tasks, Counted(audit_data))
    assert found - SECONDS_PER_TASK * len(plan.tasks) == pytest.approx(expected)


def test_a_kind_is_measured_once_and_a_longer_training_takes_longer() -> None:
    plan, audit_data = plan_study(study())
    probe = Probe(audit_data)
    threads = torch.get_num_threads()
    first = task_seconds(plan, plan.tasks, probe)
    assert first > SECONDS_PER_TASK * len(plan.tasks)
    assert task_seconds(plan, plan.tasks, probe) == first  # nothing is measured anew
    longer, _ = plan_study(study(training={"epochs": 300, "batch_size": 32}))
    assert task_seconds(longer, longer.tasks, probe) > 5 * (first - SECONDS_PER_TASK * len(plan.tasks))
    assert torch.get_num_threads() == threads


def test_the_shortest_round_counts_and_slow_work_is_done_once() -> None:
    done: list[int] = []

    def busy(units: int) -> int:
        done.append(units)
        until = time.thread_time() + 0.01 * units * (3 if len(done) == 2 else 1)  # the second round is disturbed
        while time.thread_time() < until:
            pass
        return units

    assert seconds_each(busy, "cpu") == pytest.approx(0.01, rel=0.3)
    assert done[:2] == [1, PROBED_UNITS]
    done.clear()

    def slow(units: int) -> int:
        done.append(units)
        until = time.thread_time() + (0.6 if len(done) == 1 else 0.2)  # the first one prepares
        while time.thread_time() < until:
            pass
        return units

    assert seconds_each(slow, "cpu") == pytest.approx(0.2, rel=0.3)
    assert done == [1, 1]


def busy_for(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("each", "expected"), [(0.02, 0.05 + 128 * 0.02), (0.0001, None)])
def test_the_time_of_a_slow_batch_follows_from_two_small_ones(each: float, expected: float | None) -> None:
    _, audit_data = plan_study(study())
    tried: list[int] = []

    def work(num_samples: int) -> None:
        tried.append(num_samples)
        busy_for((0.05 if expected else 0.0) + num_samples * each)

    found = Probe(audit_data)._foreseen(work, 128)
    assert found == (None if expected is None else pytest.approx(expected, rel=0.3))
    assert max(tried) <= MORE  # never the batch itself
    assert Probe(audit_data, "cuda")._foreseen(work, 128) is None
