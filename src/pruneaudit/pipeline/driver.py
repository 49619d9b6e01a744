"""Bringing a plan onto the disk: what is whole is reused, the rest is made, in order of need."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Protocol

from pruneaudit.data.population import Population
from pruneaudit.errors import UserError
from pruneaudit.pipeline.executors import Executor, Outcome
from pruneaudit.pipeline.plan import Plan, Task
from pruneaudit.pipeline.request import Request
from pruneaudit.pipeline.store import Artifact, Store


class Progress(Protocol):
    """What is told while a study runs."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """The work is known."""
        ...

    def done(self, task: Task) -> None:
        """A task is finished and on disk."""
        ...

    def say(self, message: str) -> None:
        """Anything worth a line."""
        ...


class Silent:
    """Progress that nobody watches."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Says nothing."""

    def done(self, task: Task) -> None:
        """Says nothing."""

    def say(self, message: str) -> None:
        """Says nothing."""


class TaskFailedError(RuntimeError):
    """A task could not be done; what was finished before it is kept."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.request.name}: {outcome.error}")
        self.details = outcome.details


def missing_tasks(plan: Plan, store: Store) -> list[Task]:
    """The tasks whose artifact is not on disk, or not whole; changes nothing."""
    return [task for task in plan.tasks if store.status(task.artifact)[0] != "whole"]


def carry_out(
    plan: Plan, population: Population, store: Store, executor: Executor, device: str, progress: Progress
) -> int:
    """Makes everything that the plan needs and the store lacks; the store is open for writing.

    Returns:
        The number of tasks that were done.

    Raises:
        TaskFailedError: a task failed; finished ones stay.
        UserError: a task could not accept what the user asked for.
    """
    _keep_population(plan, population, store, progress)
    missing = [task for task in plan.tasks if not _is_whole(task.artifact, store, progress)]
    progress.begin(len(missing), len(plan.tasks) - len(missing))
    if missing:
        with executor:
            _work_off(missing, store, executor, device, progress)
    return len(missing)


def _keep_population(plan: Plan, population: Population, store: Store, progress: Progress) -> None:
    """Saves the population for the workers to read."""
    if not _is_whole(plan.population, store, progress):
        staging = store.new_staging()
        population.save(staging)
        store.commit(plan.population, staging)


def _is_whole(artifact: Artifact, store: Store, progress: Progress) -> bool:
    """Whether an artifact can be reused; what is damaged is set aside and named."""
    status, reason = store.status(artifact)
    if status == "damaged":
        place = store.set_aside(artifact)
        progress.say(f"{artifact.folder}: {reason}; set aside as {place.name} and made again")
    return status == "whole"


def _work_off(tasks: list[Task], store: Store, executor: Executor, device: str, progress: Progress) -> None:
    """Submits each task once its inputs exist, and commits what comes back."""
    todo = {task.artifact.identity for task in tasks}
    waiting_for: dict[str, int] = {}
    dependents: dict[str, list[Task]] = defaultdict(list)
    in_flight: dict[str, Task] = {}

    def submit(task: Task) -> None:
        staging = store.new_staging()
        inputs = {role: str(store.path(artifact).resolve()) for role, artifact in task.inputs.items()}
        in_flight[task.name] = task
        executor.submit(Request(task.name, task.action, task.spec, inputs, str(staging.resolve()), device))

    for task in tasks:
        needs = [artifact.identity for artifact in task.inputs.values() if artifact.identity in todo]
        waiting_for[task.name] = len(needs)
        for need in needs:
            dependents[need].append(task)
    for task in tasks:
        if not waiting_for[task.name]:
            submit(task)
    while in_flight:
        outcome = executor.next_outcome()
        task = in_flight.pop(outcome.request.name)
        if outcome.error:
            raise TaskFailedError(outcome) if outcome.details else UserError(f"{task.name}: {outcome.error}")
        store.commit(task.artifact, Path(outcome.request.staging))
        progress.done(task)
        for dependent in dependents[task.artifact.identity]:
            waiting_for[dependent.name] -= 1
            if not waiting_for[dependent.name]:
                submit(dependent)
