"""Runs tasks on a Ray cluster: an existing one, or one that is started and ended on this machine.

No shared disk is needed. Input files go into Ray's object store once each; the files of a task come
back as bytes, and only the driver writes them to disk. Every task runs on one CPU and one thread, as
in all executors, so results are identical byte for byte on one type of machine.

Ray's own retries are off: the driver handles the death of a worker and retries. Trainings have no
checkpoints between epochs here: a task whose worker died starts again.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections import OrderedDict, deque
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from pruneaudit import __version__
from pruneaudit.core.errors import RunError, UserError
from pruneaudit.core.files import file_sha256
from pruneaudit.engine.packed_files import UnpackingError, pack, unpack
from pruneaudit.engine.processes import ONE_THREAD, search_path
from pruneaudit.engine.ray_cluster import (
    RayCluster,
    be_quiet,
    end_own_processes,
    join,
    last_line,
    own_raylet_lives,
    own_sigterm,
    remove_while_written,
    start,
    temporary_folder,
)
from pruneaudit.engine.ray_worker import clean_up, do_task
from pruneaudit.engine.store import SEAL
from pruneaudit.engine.task_spec import TaskResult, TaskSpec

NUM_KEPT = 16
"""Number of inputs to keep in the object store for further tasks."""
CLEANING_SECONDS = 10.0
_ABANDONED: list[Any] = []
"""References into clusters whose raylet has died: Ray would end this process as soon as one is released."""
LOOKING_SECONDS = 1.0
"""Time between checks on the raylet of a cluster that was started here."""


class Ray:
    """Runs requests as Ray tasks. Uses an existing connection of the caller to Ray, and leaves it open."""

    def __init__(self, num_workers: int | None, cluster: RayCluster) -> None:
        """Describes the executor, without connecting.

        Args:
            num_workers: requests at a time; None: one per CPU of the cluster.
            cluster: the cluster.

        Raises:
            UserError: Ray is missing, or a setting is invalid.
        """
        cluster.check()
        self.num_workers = num_workers or 0
        self._cluster = cluster
        self._waiting: deque[TaskSpec] = deque()
        self._running: dict[Any, TaskSpec] = {}
        self._shipped: OrderedDict[str, Any] = OrderedDict()
        self._tasks: dict[str, Any] = {}
        self._scratch = f"pruneaudit-{uuid.uuid4().hex}"
        self._is_ours = self._is_local = self._is_dead = False
        self._place = ""
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> Ray:
        be_quiet()
        import ray

        if not ray.is_initialized():
            self._is_ours, self._is_local = True, not self._cluster.address
            self._restore.enter_context(own_sigterm())
            try:
                if self._is_local:
                    self._place = self._restore.enter_context(temporary_folder())
                    start(self.num_workers or None, self._place)
                else:
                    join(self._cluster.address)
            except BaseException:
                self._end()
                raise
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        if not num_cpus:
            self._end()
            raise UserError("the Ray cluster has no CPUs for tasks; add a node with CPUs")
        # If Ray limits the number, submitting twice as many saves workers the wait until the driver has committed.
        self._at_a_time = self.num_workers * (2 if self._is_local else 1) or 2 * num_cpus
        self.num_workers = self.num_workers or num_cpus
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancels running tasks, removes files on the machines, and leaves the cluster, or ends it if started here."""
        import ray

        if self._is_dead:
            self._abandon()
            return
        try:
            for ref in self._running:
                ray.cancel(ref, force=True)
            if not self._is_local:
                self._clean_machines()
            self._running.clear()
            self._shipped.clear()
        finally:
            self._end()

    def submit(self, task_spec: TaskSpec) -> None:
        """Submits a request to Ray, or queues it until others are done.

        Raises:
            UserError: the cluster lacks the requested device.
        """
        self._check_device(task_spec.device)
        self._waiting.append(task_spec)
        self._hand_out()

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request, and writes its files.

        Raises:
            RunError: the raylet of a cluster that was started here has died. Ray would notice it ten seconds later,
                and end this process without a message.
        """
        import ray

        done: list[Any] = []
        while not done:
            done, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOKING_SECONDS)
            if self._is_local and not own_raylet_lives():
                self._give_up()
        ref = done[0]
        task_spec = self._running.pop(ref)
        outcome = self._outcome(task_spec, ref)
        self._hand_out()
        return outcome

    def _outcome(self, task_spec: TaskSpec, ref: Any) -> TaskResult:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            answer, packed = ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, RayError):  # an input was lost with its machine
                return self._death(task_spec, error.cause)
            return TaskResult(task_spec, f"Ray could not run it: {last_line(error)}", details=str(error), kind="task")
        except RayError as error:
            return self._death(task_spec, error)
        outcome = TaskResult(task_spec, **json.loads(answer))
        if outcome.error:
            return outcome
        try:
            unpack(packed, Path(task_spec.staging))
        except UnpackingError as error:
            return TaskResult(task_spec, f"its result was refused: {error}", kind="task")
        return outcome

    def _death(self, task_spec: TaskSpec, error: BaseException) -> TaskResult:
        """Returns the outcome of a worker's death; raises if this machine's raylet has died."""
        from ray.exceptions import LocalRayletDiedError

        if isinstance(error, LocalRayletDiedError):
            self._give_up()
        return TaskResult(task_spec, f"its Ray worker died ({type(error).__name__})", kind="death")

    def _give_up(self) -> NoReturn:
        self._is_dead = True
        raise RunError("Ray's raylet, the process on this machine that starts tasks, has died")

    def _hand_out(self) -> None:
        """Submits as many queued requests to Ray as allowed."""
        while self._waiting and len(self._running) < self._at_a_time:
            task_spec = self._waiting.popleft()
            shipped = {role: self._ship(Path(folder)) for role, folder in task_spec.inputs.items()}
            task = self._task(task_spec.device).remote(task_spec.to_json(), shipped, self._scratch, __version__)
            self._running[task] = task_spec

    def _task(self, device: str) -> Any:
        """Returns the remote function with its resources and environment."""
        import ray

        if device not in self._tasks:
            environment: dict[str, str] = dict(ONE_THREAD)
            if self._is_local:  # workers find the user's modules in the same places
                environment["PYTHONPATH"] = search_path()
            # A process stays with its first GPU: if Ray could assign it another one, it runs only one task.
            several = any(node["Resources"].get("GPU", 0) > 1 for node in ray.nodes())
            self._tasks[device] = ray.remote(
                num_cpus=1,
                num_gpus=0 if device == "cpu" else self._cluster.gpus_per_task,
                max_calls=1 if device != "cpu" and several else 0,
                max_retries=0,
                runtime_env={"env_vars": environment},
            )(do_task)
        return self._tasks[device]

    def _ship(self, folder: Path) -> tuple[str, Any]:
        """Returns the hash of an artifact's seal, which identifies it, and a function that fetches its files."""
        import ray

        digest = file_sha256(folder / SEAL)
        if digest not in self._shipped:
            self._shipped[digest] = partial(ray.get, ray.put(pack(folder)))
        self._shipped.move_to_end(digest)
        if len(self._shipped) > NUM_KEPT:
            self._shipped.popitem(last=False)
        return digest, self._shipped[digest]

    def _check_device(self, device: str) -> None:
        import ray

        if device == "cpu":
            return
        if device != "cuda":
            raise UserError(f"device: got '{device}', expected cpu or cuda; Ray chooses the GPU of each task")
        has = ray.cluster_resources().get("GPU", 0.0)
        if has < self._cluster.gpus_per_task:
            raise UserError(f"device: got 'cuda', but the Ray cluster has {has:g} GPUs; use --device cpu")

    def _clean_machines(self) -> None:
        """Removes the run's folder from every reachable machine, once no task writes there."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._running:
            ray.wait(list(self._running), num_returns=len(self._running), timeout=CLEANING_SECONDS)
        task = ray.remote(num_cpus=0, max_retries=0)(clean_up)
        there = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        wishes = [NodeAffinitySchedulingStrategy(node, soft=False) for node in there]
        refs = [task.options(scheduling_strategy=wish).remote(self._scratch) for wish in wishes]
        ray.wait(refs, num_returns=len(refs), timeout=CLEANING_SECONDS)

    def _abandon(self) -> None:
        """Leaves a cluster whose raylet has died, without calls to Ray that would end this process."""
        _ABANDONED.extend((self._running, self._shipped, self._tasks))
        if self._is_local:
            end_own_processes()
            clean_up(self._scratch)
        self._restore.close()
        if self._place:
            remove_while_written(self._place)

    def _end(self) -> None:
        """Leaves the cluster; Ray ends a cluster that was started here."""
        import ray

        if self._is_ours:
            ray.shutdown()
        if self._is_local:
            clean_up(self._scratch)
        self._restore.close()
