"""`--dry-run`: shows what a command would do, and what it would cost in time and disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    from pruneaudit.data.audit_data import AuditData
    from pruneaudit.engine.plan import Plan, Task
    from pruneaudit.engine.probe import Probe
    from pruneaudit.engine.store import Store
    from pruneaudit.study import Study

BASE_TRAINING = "base training"
ACTIONS = {
    BASE_TRAINING: "base to train",
    "train": "dense trainings",
    "import": "networks of yours to read",
    "release": "prunings / fine-tunings / defended trainings",
    "signals": "queries",
    "sensitivity": "sensitivity queries",
    "forgetting": "copies trained further",
    "start_saliency": "comparisons with gradients at the start",
    "sample_scores": "tables of memorisation scores",
}


def describe(
    study: Study, folder: Path, data_root: Path | None, device: str, jobs: int | None, finished: bool = False
) -> None:
    """Prints the tasks to do and to reuse, and the disk and time they need.

    Args:
        study: the study to describe.
        folder: the run folder.
        data_root: as for `pruneaudit.run`.
        device: the device for the tasks.
        jobs: tasks at a time; None: as many as `run` would use.
        finished: the study is the folder's own with other attacks; the functions that it names are not called.

    Raises:
        UserError: the study cannot be run.
    """
    from pruneaudit.data.audit_data import copies_note
    from pruneaudit.engine.devices import check_device, usual_jobs
    from pruneaudit.engine.estimate import check_room, disk_bytes, free_bytes
    from pruneaudit.engine.preflight import preflight
    from pruneaudit.engine.probe import Probe, task_seconds
    from pruneaudit.engine.scheduler import tasks_to_do
    from pruneaudit.engine.sources import functions_importable
    from pruneaudit.engine.store import Store
    from pruneaudit.runs.audit_data import settled
    from pruneaudit.runs.beginning import plan_study, replaced
    from pruneaudit.runs.folder import RunFolder

    check_device(device)
    run = RunFolder(folder)
    plan, audit_data = run.planned(study, data_root) if finished else plan_study(study, data_root, folder)
    study = settled(study, audit_data)
    store, probe, workers = Store(folder), Probe(audit_data, device), jobs or usual_jobs(device)
    notes: tuple[str, ...] = ()
    if not finished:
        with functions_importable(plan):
            notes = preflight(plan, audit_data, store)
    missing = tasks_to_do(plan, store, contents=False)  # to read the weights of a large study takes minutes
    if finished and missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(plan.tasks)} parts are missing, first {missing[0].name};"
            f" finish it with: pruneaudit run {folder / 'study.json'} --out {folder.parent}"
        )
    releases = ", ".join(plan.releases)
    print(printable(f"study {study.name}: {study.membership.num_models} models, releases {releases}"))
    source = printable(study.data.source.label)
    print(f"audit data: {len(audit_data.y)} samples of {source}, {audit_data.num_classes} classes")
    for action, what in ACTIONS.items():
        total = sum(_kind(task) == action for task in plan.tasks)
        if total:
            todo = sum(_kind(task) == action for task in missing)
            print(f"{what}: {todo} to do, {total - todo} to reuse")
    with functions_importable(plan):
        needed = disk_bytes(plan, audit_data, missing)
    place = printable(str(folder))
    print(f"disk: about {needed / 1e6:,.1f} MB more in {place}, where {free_bytes(folder) / 1e6:,.0f} MB are free")
    if missing:
        with functions_importable(plan):
            seconds = task_seconds(plan, missing, probe) / workers
        print(f"time: about {_said(seconds)} before the attacks, {workers} at a time, with the machine to itself")
        if study.training.function:
            print(printable(f"      not counted: training by {study.training.function}"))
    _describe_learning(plan, audit_data, store, probe, workers)
    notes += _notes_on_target(plan, audit_data) if plan.files else ()
    told = (*copies_note(audit_data), *audit_data.notes, *study.warnings(), *notes)
    for note in (*replaced(study, audit_data, folder), *told):
        print(printable(f"warning: {note}"))
    if missing:
        check_room(needed, folder)


def _notes_on_target(plan: Plan, audit_data: AuditData) -> tuple[str, ...]:
    """Returns notes on the data of a target; imported here, because only these need what audits load."""
    from pruneaudit.evaluation.data_checks import target_data_notes
    from pruneaudit.runs.provenance import inputs_of_target

    return tuple(target_data_notes(inputs_of_target(plan, audit_data)))


def _kind(task: Task) -> str:
    """Returns what a task counts as: its action, and apart from the bank the training of its base."""
    return BASE_TRAINING if task.trains_base else task.action


def _describe_learning(plan: Plan, audit_data: AuditData, store: Store, probe: Probe, workers: int) -> None:
    """Prints how many learned attacks there are, in how many attack settings, and how long they will take."""
    from pruneaudit.engine.attack_needs import attacks_of

    learning = [label for label, attack in attacks_of(plan.study).items() if attack.trains]
    if not learning:
        return
    from pruneaudit.engine.learning import attack_tasks
    from pruneaudit.engine.learning_probe import expected_settings, learning_seconds
    from pruneaudit.engine.scheduler import missing_tasks

    settings = expected_settings(plan, audit_data)
    tasks = attack_tasks(plan, settings)
    missing = missing_tasks(replace(plan, tasks=tuple(tasks)), store, contents=False)
    reused, num_settings = len(tasks) - len(missing), len({(task.release, task.spec["references"]) for task in tasks})
    where = f"{', '.join(learning)}; in {num_settings} attack setting{'s' if num_settings != 1 else ''}"
    print(f"attacks that learn: {len(missing)} to do, {reused} to reuse ({where})")
    if missing:
        each = learning_seconds(missing, settings, probe)
        print(f"time: about {_said(max(sum(each) / workers, *each))} for these, {min(workers, len(each))} at a time")


def _said(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
