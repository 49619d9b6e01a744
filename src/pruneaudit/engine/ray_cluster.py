"""Starting a Ray cluster on this machine, or joining one that exists, without noise and without traces."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import RunError, UserError

OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory of a cluster that is started here; what does not fit goes to its temporary folder."""
CONNECTING_SECONDS = 10.0
LINGERING_SECONDS = 3.0
"""How long processes of a cluster whose raylet has died take to end."""


@dataclass(frozen=True)
class RayCluster:
    """Which cluster, and how much of it a task gets."""

    address: str = ""
    """`HOST:PORT` or `auto` of a cluster that exists; empty: one on this machine, for this run."""
    gpus_per_task: float = 1.0
    """GPUs of a task where the device is `cuda`, above 0 and at most 1; 0.25: four tasks share a GPU."""

    def check(self) -> None:
        """Checks that Ray is there and that the settings make sense.

        Raises:
            UserError: they do not.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError("executor 'ray' needs Ray, which is not installed; pip install 'pruneaudit[ray]'")
        if not 0.0001 <= self.gpus_per_task <= 1:  # Ray counts in ten-thousandths
            raise UserError(f"gpus per task: got {self.gpus_per_task}, expected above 0 and at most 1, such as 0.25")


def start(num_cpus: int | None, place: str) -> None:
    """Starts a cluster on this machine, which listens on the loopback interface alone.

    Args:
        num_cpus: tasks at a time; None: one per core.
        place: the folder that it may write in.

    Raises:
        RunError: it does not start.
    """
    import ray

    try:
        with _loopback():
            ray.init(
                "local",
                num_cpus=num_cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=_without_working_folder(place),
                _temp_dir=place,
            )
    except Exception as error:  # Ray raises the bare class where its processes do not start in time
        raise RunError(f"Ray cannot be started on this machine ({last_line(error)})") from error


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Has Ray take 127.0.0.1 for this machine's address, as it does on macOS and Windows, and listen there alone.

    Given as an option, Ray would replace that address by one which other machines can reach.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def join(address: str) -> None:
    """Joins a cluster that exists; where nothing listens, Ray itself would try for minutes and then end the program.

    Raises:
        UserError: there is none.
    """
    import ray

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=CONNECTING_SECONDS).close()
        with temporary_folder() as place:
            environment = _without_working_folder(place)
            ray.init(address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise UserError(
            f"ray address: cannot join a cluster at '{address}' ({last_line(error)});"
            " expected HOST:PORT of one that runs, or auto"
        ) from error


def _without_working_folder(place: str) -> dict[str, str]:
    """An empty folder below `place` for workers to be in: Ray would put the driver's own first on their search path."""
    empty = Path(place, "empty")
    empty.mkdir()
    return {"working_dir": str(empty)}


def own_raylet_lives() -> bool:
    """Whether the process of a cluster that was started here still runs which starts its tasks."""
    from ray._private import worker

    node: Any = worker._global_node
    started = node.all_processes.get("raylet", []) if node is not None else []
    return all(one.process.poll() is None for one in started)


def end_own_processes() -> None:
    """Ends all processes of a cluster that was started here, at once; for where its raylet has died."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def be_quiet() -> None:
    """Keeps what Ray says of dead workers off standard output, where results go; the driver says it in its own words.

    Ray reads this when it is first imported, and only there.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Puts the handler of SIGTERM back, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder of its own below /tmp, removed afterwards; short-named, since the paths of sockets must be."""
    place = tempfile.mkdtemp(prefix="pa-ray-", dir="/tmp" if os.name == "posix" else None)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_while_written(place: str) -> None:
    """Removes a cluster's folder for as long as processes that are ending may make it again."""
    until = time.monotonic() + LINGERING_SECONDS
    while time.monotonic() < until:
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(0.1)


def last_line(error: BaseException) -> str:
    """The last line of what an error says, which has the reason where Ray writes many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
