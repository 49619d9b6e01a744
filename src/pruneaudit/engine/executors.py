"""Where tasks run: in this process one after another, in worker processes, or on a Ray cluster (`ray_executor.py`).

Every executor runs the same `perform` on one thread, so that results are the same byte for byte.
"""

from __future__ import annotations

import queue
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from pruneaudit.core.errors import UserError
from pruneaudit.engine.processes import Processes
from pruneaudit.engine.task_spec import TaskResult, TaskSpec
from pruneaudit.engine.worker import attempt

if TYPE_CHECKING:
    from pruneaudit.engine.ray_cluster import RayCluster


class Executor(Protocol):
    """Runs requests; the driver hands them in and takes outcomes out, in any order."""

    @property
    def num_workers(self) -> int:
        """How many requests run at a time."""
        ...

    def submit(self, task_spec: TaskSpec) -> None:
        """Takes a request; returns at once or when it is done."""
        ...

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Serial:
    """Runs each request in this process, when its outcome is asked for."""

    num_workers = 1

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[TaskSpec] = queue.SimpleQueue()

    def submit(self, task_spec: TaskSpec) -> None:
        """Queues a request."""
        self._waiting.put(task_spec)

    def next_outcome(self) -> TaskResult:
        """Does the oldest waiting request."""
        task_spec = self._waiting.get_nowait()
        return TaskResult(task_spec, **attempt(task_spec.to_json()))

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        """Holds nothing to release."""


class Standby:
    """An executor that starts with its first request, and serves all that a run has to do until the end."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._is_started = executor, False

    @property
    def num_workers(self) -> int:
        """Requests at a time."""
        return self._executor.num_workers

    def submit(self, task_spec: TaskSpec) -> None:
        """Takes a request; the first one starts the executor."""
        if not self._is_started:
            self._executor.__enter__()
            self._is_started = True
        self._executor.submit(task_spec)

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request."""
        return self._executor.next_outcome()

    def __enter__(self) -> Standby:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the executor, if it was needed."""
        if self._is_started:
            self._executor.__exit__(kind, error, trace)


def make_executor(name: str, num_workers: int | None, cluster: RayCluster | None = None) -> Executor:
    """The executor called `name`: `serial`, `processes` or `ray`.

    Args:
        name: of the executor.
        num_workers: requests at a time; None: as many as a Ray cluster has CPUs, elsewhere one.
        cluster: which Ray cluster, where the executor is `ray`; default: one on this machine.

    Raises:
        UserError: no executor has that name, the number of workers is below 1, Ray is not installed, or a cluster is
            given to another executor.
    """
    if num_workers is not None and num_workers < 1:
        raise UserError(f"jobs: got {num_workers}, expected at least 1")
    if cluster is not None and name != "ray":
        raise UserError(f"got settings of Ray with executor '{name}'; use --executor ray, or leave them out")
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes(num_workers or 1)
    if name == "ray":
        from pruneaudit.engine.ray_cluster import RayCluster
        from pruneaudit.engine.ray_executor import Ray

        return Ray(num_workers, cluster or RayCluster())
    raise UserError(f"unknown executor '{name}'; expected serial, processes or ray")
