"""Estimates the cost of a choice: the trainings and queries of each rung and of the confirmation, and their time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pruneaudit.choosing.bench import Bench
from pruneaudit.choosing.rungs import FEWEST_KEPT
from pruneaudit.engine.scheduler import tasks_to_do
from pruneaudit.report.words import counted
from pruneaudit.study.choose import Choose


@dataclass(frozen=True)
class Stage:
    """A rung, or the confirmation."""

    name: str
    num_candidates: int
    """At most."""
    models: tuple[int, ...]
    num_tasks: int
    """At most, without finished ones. Of later stages an estimate: it depends on which candidates are left."""
    seconds: float
    """Of all tasks together, estimated from a probe."""


def stages(bench: Bench, choose: Choose, first: Sequence[str], num_first: int) -> list[Stage]:
    """Returns the stages of a choice.

    Args:
        bench: with the store in which finished parts are found.
        choose: the settings of the search.
        first: candidates of the first rung, all or typical ones.
        num_first: how many the first rung will have.
    """
    from pruneaudit.engine.probe import Probe, task_seconds  # imports torch

    probe, store = Probe(bench.audit_data, bench.machine.device), bench.machine.store
    found = []
    count, names = num_first, list(first)
    rungs = bench.halves.rungs(choose.rungs)
    for number, models in enumerate([*rungs, bench.halves.confirm]):
        is_confirmation = number == len(rungs)
        count = min(count, choose.confirm) if is_confirmation else count
        # Which candidates are left is not known: those of the first rung are evenly thinned.
        typical = names[:: max(len(names) // count, 1)][:count]
        plan = bench.planned(typical, models)
        missing = tasks_to_do(plan, store)
        share = count / len(typical)
        name = "confirmation" if is_confirmation else f"rung {number + 1}"
        seconds = task_seconds(plan, missing, probe) if missing else 0.0
        found.append(Stage(name, count, models, round(share * len(missing)), share * seconds))
        if number < len(rungs) - 1:  # nothing is halved after the last rung
            count = min(count, max(math.ceil(choose.keep * count), FEWEST_KEPT))
    return found


def stage_lines(found: Sequence[Stage], workers: int = 1) -> list[str]:
    """Returns a line for each stage, and one for the whole.

    Args:
        found: the stages.
        workers: tasks at a time.
    """
    lines = [
        f"{stage.name}: at most {counted(stage.num_candidates, 'candidate')} on {counted(len(stage.models), 'model')},"
        f" {counted(stage.num_tasks, 'task')}"
        for stage in found
    ]
    minutes = sum(stage.seconds for stage in found) / workers / 60
    return [*lines, f"time: about {minutes:.1f} minutes of training and queries, {workers} at a time"]
