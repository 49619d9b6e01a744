"""Carries out a plan: reuses whole artifacts, and makes the others in the order of their dependencies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pruneaudit.core.errors import RunError, StorageError, UserError
from pruneaudit.core.files import writing
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import read_membership, to_text
from pruneaudit.data.splits import Splits
from pruneaudit.engine.dropping import wanted_again
from pruneaudit.engine.executors import Executor
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.progress import Progress
from pruneaudit.engine.retries import Attempts
from pruneaudit.engine.sources import functions_importable
from pruneaudit.engine.store import Artifact, Store
from pruneaudit.engine.task_spec import TaskResult, TaskSpec
from pruneaudit.study import DENSE
from pruneaudit.study.lineage import SCORING, calls_users_function
from pruneaudit.study.user_function import working_folder


@dataclass(frozen=True)
class Failure:
    """A failed task."""

    task: Task
    reason: str
    """The reason, in one line."""
    details: str = ""
    """A traceback, if there is one."""

    def __str__(self) -> str:
        return f"{self.task.name}: {self.reason}"


class TasksFailedError(RunError):
    """Too many tasks failed to audit the rest."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        more = f" ({len(failures) - 1} more tasks failed)" if len(failures) > 1 else ""
        super().__init__(f"{failures[0]}{more}")
        self.details = failures[0].details


@dataclass(frozen=True)
class Work:
    """The result of carrying out a plan."""

    num_done: int
    failures: tuple[Failure, ...]
    """Tasks that failed; tasks that depend on them are in `left_undone`."""
    left_undone: tuple[Task, ...] = ()
    """Tasks that were never tried because an input failed."""

    def lost(self, num_models: int, needed: Collection[int] = ()) -> tuple[list[str], set[int]]:
        """Returns the releases that cannot be audited, and the models to leave out of all others.

        A release that is missing for more than half of the models is lost, but its models stay in other releases: the
        cause is the release itself, or a common input of its models (its parent release, the scoring bank's scores).

        Args:
            num_models: number of models in the bank.
            needed: models without which a release cannot be audited: the target.
        """
        at_fault = [failure.task for failure in self.failures]
        untrained = {task.model_id for task in at_fault if task.action == "train" and task.release == DENSE}
        failed: dict[str, set[int]] = defaultdict(set)
        for task in (*at_fault, *self.left_undone):
            # A model without a dense form is left out, which is no release's fault. Scoring models do not count.
            is_of_bank = task.release != SCORING and not task.trains_base
            if task.release == DENSE or (is_of_bank and task.model_id not in untrained):
                failed[task.release].add(task.model_id)
        releases = [
            name
            for name, models in failed.items()
            if name != DENSE and (2 * len(models) > num_models or not models.isdisjoint(needed))
        ]
        return releases, {model for name in failed.keys() - set(releases) for model in failed[name]}


def missing_tasks(plan: Plan, store: Store, contents: bool = True) -> list[Task]:
    """Returns the tasks whose artifact is missing or damaged; changes nothing.

    Args:
        plan: the plan.
        store: the store.
        contents: as for `Store.status`.
    """
    return [task for task in plan.tasks if store.status(task.artifact, contents)[0] != "whole"]


def tasks_to_do(plan: Plan, store: Store, contents: bool = True) -> list[Task]:
    """Returns the missing tasks, and those that make dropped weights again for them; arguments as `missing_tasks`."""
    return wanted_again(plan, store, missing_tasks(plan, store, contents))


def carry_out(
    plan: Plan,
    audit_data: AuditData,
    store: Store,
    executor: Executor,
    device: str,
    progress: Progress,
    checkpoint_seconds: float,
) -> Work:
    """Makes all artifacts of the plan that the store lacks; the store is open for writing.

    A task that fails is reported and left out with all tasks that depend on it; the others are done. If a
    worker dies, its task is tried again, up to `MAX_ATTEMPTS` times in total (`retries`).

    Raises:
        UserError: the study asks for something impossible (such as a network that does not fit the data), the disk is
            too small for the tasks, or the run folder lacks its membership file.
        StorageError: the disk is full; finished tasks are kept.
        RunError: the run folder is no longer writable, or the machine failed; finished tasks are kept.
    """
    with writing(store.root, begun=True):
        _keep_given(plan, audit_data, store, progress)
        missing = [task for task in plan.tasks if not _is_whole(task.artifact, store, progress)]
        missing = wanted_again(plan, store, missing)
        forget_finished(plan, missing, store)
        progress.begin(len(missing), len(plan.tasks) - len(missing))
        if not missing:
            return Work(0, ())
        _check_room(plan, audit_data, store, missing)
        splits = read_membership(store.root, plan.study.membership.num_models, len(audit_data.y))
        return _Scheduler(missing, splits, store, executor, device, progress, checkpoint_seconds).work_off()


def _check_room(plan: Plan, audit_data: AuditData, store: Store, missing: Sequence[Task]) -> None:
    """Refuses tasks for which the disk has not enough space."""
    from pruneaudit.engine.estimate import check_room, disk_bytes  # imports torch

    try:
        with functions_importable(plan):
            needed = disk_bytes(plan, audit_data, missing)
    except Exception:  # a user's network can raise anything; the tasks report it
        return
    check_room(needed, store.root)


def forget_finished(plan: Plan, missing: Collection[Task], store: Store) -> None:
    """Removes checkpoints of finished tasks, which remain if a run was killed in between."""
    left = {task.name for task in missing}
    for task in plan.tasks:
        if task.name not in left:
            store.forget_checkpoints(task.artifact)


def _keep_given(plan: Plan, audit_data: AuditData, store: Store, progress: Progress) -> None:
    """Saves the audit data, and the weights of the user's files, for the workers to read."""
    if not _is_whole(plan.audit_data, store, progress):
        staging = store.new_staging()
        audit_data.save(staging)
        store.commit(plan.audit_data, staging)
    for weights in plan.users_weights:
        if not _is_whole(weights.artifact, store, progress):
            from pruneaudit.engine.importing import write_weights  # imports torch

            staging = store.new_staging()
            with functions_importable(plan):
                write_weights(weights, audit_data, staging)
            store.commit(weights.artifact, staging)


def _is_whole(artifact: Artifact, store: Store, progress: Progress) -> bool:
    """Returns whether an artifact can be reused; quarantines and reports a damaged one."""
    status, reason = store.status(artifact)
    if status == "damaged":
        place = store.quarantine(artifact)
        progress.warn(f"{artifact.folder}: {reason}; quarantined as {place.name} and made again")
    return status == "whole"


class _Scheduler:
    """Submits each task once its inputs exist, and commits the results."""

    def __init__(
        self,
        tasks: Sequence[Task],
        splits: Splits,
        store: Store,
        executor: Executor,
        device: str,
        progress: Progress,
        checkpoint_seconds: float,
    ) -> None:
        self._splits, self._store, self._executor, self._progress = splits, store, executor, progress
        self._device, self._checkpoint_seconds = device, checkpoint_seconds
        self._tasks = {task.name: task for task in tasks}
        self._waiting_for: dict[str, int] = {}
        self._dependents: dict[str, list[Task]] = defaultdict(list)
        self._num_in_flight = 0
        self._attempts = Attempts()
        self._failures: list[Failure] = []
        self._num_done = 0
        todo = {task.artifact.folder for task in tasks}
        for task in tasks:
            needs = [artifact.folder for artifact in task.inputs.values() if artifact.folder in todo]
            self._waiting_for[task.name] = len(needs)
            for need in needs:
                self._dependents[need].append(task)

    def work_off(self) -> Work:
        """Works until no task is left that can be done."""
        for task in [task for task in self._tasks.values() if not self._waiting_for[task.name]]:
            self._submit(task)
        while self._num_in_flight:
            outcome = self._executor.next_outcome()
            self._num_in_flight -= 1
            task = self._tasks[outcome.task_spec.name]
            for warning in outcome.warnings:
                self._progress.warn(f"{task.name}: {warning}")
            if not outcome.kind:
                self._finish(task, outcome)
            elif outcome.kind == "input":
                raise UserError(f"{task.name}: {outcome.error}")
            elif outcome.kind == "storage":
                raise StorageError(self._store.root, outcome.error)
            elif outcome.kind == "system":
                raise RunError(f"{task.name}: the machine cannot read or write ({outcome.error})")
            elif self._attempts.are_left(task.name, outcome):
                self._progress.warn(self._attempts.told(task.name, outcome))
                self._submit(task)
            else:
                self._fail(task, outcome)
        left_undone = tuple(task for task in self._tasks.values() if not self._attempts[task.name])
        return Work(self._num_done, tuple(self._failures), left_undone)

    def _submit(self, task: Task) -> None:
        """Submits a task."""
        self._attempts.count(task.name)
        self._num_in_flight += 1
        self._executor.submit(self._task_spec(task))

    def _task_spec(self, task: Task) -> TaskSpec:
        store = self._store
        return TaskSpec(
            name=task.name,
            action=task.action,
            spec=task.spec,
            inputs={role: str(store.path(artifact).resolve()) for role, artifact in task.inputs.items()},
            staging=str(store.new_staging().resolve()),
            device=self._device,
            checkpoints=str(store.checkpoints_of(task.artifact).resolve()),
            checkpoint_seconds=self._checkpoint_seconds,
            membership=self._rows_for(task),
            working_folder=working_folder() if calls_users_function(task.spec) else "",
        )

    @cached_property
    def _all_rows(self) -> str:
        return to_text(self._splits, range(len(self._splits.group)))

    def _rows_for(self, task: Task) -> str:
        """Returns the membership rows that a task needs: of its own model, or, for an attack, of all models."""
        if task.action == "attack":
            return self._all_rows
        return to_text(self._splits, [task.model_id]) if task.makes_model else ""

    def _finish(self, task: Task, outcome: TaskResult) -> None:
        """Commits the artifact of a task, and submits the tasks that waited for it."""
        self._store.commit(task.artifact, Path(outcome.task_spec.staging))
        self._store.forget_checkpoints(task.artifact)
        self._num_done += 1
        self._progress.done(task, outcome.seconds)
        for dependent in self._dependents[task.artifact.folder]:
            self._waiting_for[dependent.name] -= 1
            if not self._waiting_for[dependent.name]:
                self._submit(dependent)

    def _fail(self, task: Task, outcome: TaskResult) -> None:
        """Marks a task as failed; tasks that depend on it are never submitted."""
        tried = self._attempts[task.name]
        reason = outcome.error + (f" {tried} times" if outcome.kind == "death" else "")
        self._failures.append(Failure(task, reason, outcome.details))
        self._progress.fail(task, reason, outcome.details)
