"""Runs tasks in worker processes on this machine.

Workers are new interpreters, because forks hang after OpenMP has started, and spawning re-imports the user's script.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import pruneaudit
from pruneaudit.core.errors import RunError
from pruneaudit.engine.task_spec import TaskResult, TaskSpec
from pruneaudit.study.user_function import working_folder

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Processes:
    """Runs requests in worker processes with one thread each; a worker that dies is replaced."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._waiting: queue.SimpleQueue[TaskSpec | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[TaskResult | OSError] = queue.SimpleQueue()
        self._workers: dict[int, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()
        self._starting = threading.Lock()  # starting a worker and ending all exclude each other

    def __enter__(self) -> Processes:
        try:
            for slot in range(self.num_workers):
                self._threads.append(threading.Thread(target=self._serve, args=(slot,), daemon=True))
                self._threads[-1].start()
        except BaseException:  # after Ctrl-C here, __exit__ is not called
            self._kill_workers()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all workers; kills them if something went wrong."""
        if kind is not None:
            self._kill_workers()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _kill_workers(self) -> None:
        """Kills all workers, also those that are starting, and prevents new ones."""
        with self._starting:
            self._ending.set()
            for worker in self._workers.values():
                worker.kill()

    def _new_worker(self, slot: int) -> subprocess.Popen[str] | None:
        """Starts a worker for a slot; returns None if all workers are being ended."""
        with self._starting:
            if self._ending.is_set():
                return None
            self._workers[slot] = _start_worker()
            return self._workers[slot]

    def submit(self, task_spec: TaskSpec) -> None:
        """Queues a request for the next free worker."""
        self._waiting.put(task_spec)

    def next_outcome(self) -> TaskResult:
        """Waits for the next finished request.

        Raises:
            RunError: the operating system cannot start a worker process.
        """
        outcome = self._outcomes.get()
        if isinstance(outcome, OSError):
            raise RunError(f"cannot start a worker process ({outcome.strerror or outcome})")
        return outcome

    def _serve(self, slot: int) -> None:
        """Serves a slot until there are no more requests; passes errors on to `next_outcome`."""
        if hasattr(signal, "pthread_sigmask"):  # inherited by workers: only the driver gets Ctrl-C
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._hand_out(slot)
        except OSError as error:
            self._outcomes.put(error)

    def _hand_out(self, slot: int) -> None:
        """Passes requests to the worker of a slot until there are no more."""
        worker = self._new_worker(slot)
        while worker and (task_spec := self._waiting.get()) is not None and not self._ending.is_set():
            answer = _ask(worker, task_spec)
            if answer:
                self._outcomes.put(TaskResult(task_spec, **json.loads(answer)))
                continue
            code = worker.wait()
            reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            _close(worker)
            worker = self._new_worker(slot)
            self._outcomes.put(TaskResult(task_spec, f"its worker process died ({reason})", kind="death"))
        if worker:
            _close(worker)


def search_path() -> str:
    """Returns the driver's module search path for workers, without the working folder unless PYTHONPATH names it.

    A task that needs the working folder names it (`TaskSpec.working_folder`).
    """
    named = _absolute(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    here, home = working_folder(), str(Path(pruneaudit.__file__).parents[1])
    kept = [entry for entry in _absolute(sys.path) if entry != here or entry in named]
    return os.pathsep.join(kept if home in kept else [*kept, home])


def _absolute(entries: Iterable[str]) -> list[str]:
    return [os.path.abspath(entry) for entry in entries]  # noqa: PTH100 - keeps links unresolved


def _start_worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pruneaudit.engine.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": search_path()},
    )


def _ask(worker: subprocess.Popen[str], task_spec: TaskSpec) -> str:
    """Returns a worker's answer to a request, as a line of JSON; empty if the worker died."""
    try:
        print(task_spec.to_json(), file=cast(IO[str], worker.stdin), flush=True)
        answer = cast(IO[str], worker.stdout).readline()
    except OSError:
        return ""
    return answer if answer.endswith("\n") else ""


def _close(worker: subprocess.Popen[str]) -> None:
    """Closes the pipes, which ends the worker, and waits for it."""
    for pipe in (worker.stdin, worker.stdout):
        with contextlib.suppress(OSError):  # unsent data of a dead worker
            cast(IO[str], pipe).close()
    worker.wait()
