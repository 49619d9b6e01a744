"""Executors run tasks: in this process, in worker processes, or on a Ray cluster (`ray_executor.py`).

Every executor runs the same `perform` on one thread, so results are identical byte for byte.
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
    """Runs requests; the driver submits them and receives outcomes in any order."""

    @property
    def num_workers(self) -> int:
        """The number of requests that run at a time."""
        ...

    def submit(self, task_spec: TaskSpec) -> None:
        """Accepts a request; returns at once or when it is done."""
        ...

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Serial:
    """Runs each request in this process, when its outcome is requested."""

    num_workers = 1

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[TaskSpec] = queue.SimpleQueue()

    def submit(self, task_spec: TaskSpec) -> None:
        """Queues a request."""
        self._waiting.put(task_spec)

    def next_outcome(self) -> TaskResult:
        """Runs the oldest waiting request."""
        task_spec = self._waiting.get_nowait()
        return TaskResult(task_spec, **attempt(task_spec.to_json()))

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""


class Standby:
    """An executor that starts with its first request and lasts until the end of a run."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._is_started = executor, False

    @property
    def num_workers(self) -> int:
        """Requests at a time."""
        return self._executor.num_workers

    def submit(self, task_spec: TaskSpec) -> None:
        """Accepts a request; the first one starts the executor."""
        self.start()
        self._executor.submit(task_spec)

    def start(self) -> None:
        """Starts the executor now: worker processes take seconds until they can work, and the caller has other work."""
        if not self._is_started:
            self._executor.__enter__()
            self._is_started = True

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request."""
        return self._executor.next_outcome()

    def __enter__(self) -> Standby:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the executor, if it was started."""
        if self._is_started:
            self._is_started = False
            self._executor.__exit__(kind, error, trace)


def make_executor(name: str, num_workers: int | None, cluster: RayCluster | None = None) -> Executor:
    """Makes the executor called `name`: `serial`, `processes` or `ray`.

    Args:
        name: the name of the executor.
        num_workers: requests at a time; None: the number of CPUs of a Ray cluster, otherwise one.
        cluster: the Ray cluster, for executor `ray`; default: one on this machine.

    Raises:
        UserError: the name is unknown, the number of workers is below 1, Ray is not installed, or a cluster is given
            for another executor.
    """
    if num_workers is not None and num_workers < 1:
        raise UserError(f"jobs: got {num_workers}, expected at least 1")
    if cluster is not None and name != "ray":
        raise UserError(f"got Ray settings with executor '{name}'; use --executor ray, or leave them out")
    if name == "serial":
        return Serial()
    if name == "processes":
        return Processes(num_workers or 1)
    if name == "ray":
        from pruneaudit.engine.ray_cluster import RayCluster
        from pruneaudit.engine.ray_executor import Ray

        return Ray(num_workers, cluster or RayCluster())
    raise UserError(f"unknown executor '{name}'; expected serial, processes or ray")
