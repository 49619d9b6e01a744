"""`pruneaudit run --dry-run`: what a run would do, and what it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruneaudit.study import Study

ACTIONS = {
    "train": "dense trainings",
    "release": "prunings / fine-tunings / defended trainings",
    "signals": "queries",
    "sensitivity": "sensitivity queries",
    "sample_scores": "tables of memorisation scores",
}


def describe(study: Study, out: Path, data_root: Path | None, device: str, jobs: int | None) -> None:
    """Prints tasks to do and to reuse, disk, and time.

    Args:
        study: what would be run.
        out: the folder of run folders.
        data_root: as for `pruneaudit.run`.
        device: where it would run.
        jobs: tasks at a time; none: as many as `run` would take.

    Raises:
        UserError: it could not be run.
    """
    from pruneaudit.api import check_device, prepare, usual_jobs
    from pruneaudit.pipeline.driver import missing_tasks
    from pruneaudit.pipeline.engines import UNDECIDED
    from pruneaudit.pipeline.estimate import disk_bytes
    from pruneaudit.pipeline.probe import Probe, task_seconds
    from pruneaudit.pipeline.store import Store

    check_device(device)
    plan, population = prepare(study, data_root, out / study.name)
    missing = missing_tasks(plan, Store(out / study.name))
    print(f"study {study.name}: {study.membership.num_models} models, releases {', '.join(plan.releases)}")
    print(f"population: {len(population.y)} samples of {study.data.source.label}, {population.num_classes} classes")
    for action, what in ACTIONS.items():
        total = sum(task.action == action for task in plan.tasks)
        if total:
            todo = sum(task.action == action for task in missing)
            print(f"{what}: {todo} to do, {total - todo} to reuse")
    if study.training.engine != "plain":
        kept = f"{plan.engine.name} ({plan.engine.reason})"
        print(f"engine: {UNDECIDED.reason if plan.engine is UNDECIDED else kept}; the time is that of plain training")
    megabytes = disk_bytes(plan, population, missing) / 1e6
    print(f"disk: about {megabytes:,.1f} MB more in {out / study.name}")
    if missing:
        workers = jobs or usual_jobs(device)
        seconds = task_seconds(plan, missing, Probe(population, device)) / workers
        print(f"time: about {_said(seconds)} before the attacks, {workers} at a time, with the machine to itself")
        if study.training.function:
            print(f"      not counted: what {study.training.function} trains")
    for note in study.warnings():
        print(f"warning: {note}")


def _said(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
