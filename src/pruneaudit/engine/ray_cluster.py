"""Starts a Ray cluster on this machine, or joins an existing one, quietly and without leftovers."""

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
"""Shared memory of a cluster that is started here; the rest goes to its temporary folder."""
CONNECTING_SECONDS = 10.0
LINGERING_SECONDS = 3.0
"""Time for the processes of a cluster to end after its raylet has died."""


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster, and the share of its GPUs per task."""

    address: str = ""
    """`HOST:PORT` or `auto` for an existing cluster; empty: start one on this machine for this run."""
    gpus_per_task: float = 1.0
    """GPUs per task on device `cuda`, above 0 and at most 1; 0.25: four tasks share a GPU."""

    def check(self) -> None:
        """Checks that Ray is installed and that the settings are valid.

        Raises:
            UserError: Ray is missing, or a setting is invalid.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError("executor 'ray' needs Ray, which is not installed; pip install 'pruneaudit[ray]'")
        if not 0.0001 <= self.gpus_per_task <= 1:  # Ray counts in ten-thousandths
            raise UserError(f"gpus per task: got {self.gpus_per_task}, expected above 0 and at most 1, such as 0.25")


def start(num_cpus: int | None, place: str) -> None:
    """Starts a cluster on this machine, which listens only on the loopback interface.

    Args:
        num_cpus: tasks at a time; None: one per core.
        place: the folder for its files.

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
    except Exception as error:  # Ray raises a bare Exception if its processes do not start in time
        raise RunError(f"Ray cannot be started on this machine ({last_line(error)})") from error


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Makes Ray use 127.0.0.1 as this machine's address, as on macOS and Windows, and listen only there.

    If it were given as an option, Ray would replace it by an address that other machines can reach.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def join(address: str) -> None:
    """Joins an existing cluster; checks the address first, because Ray retries for minutes and then ends the program.

    Raises:
        UserError: there is no cluster.
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
            " expected HOST:PORT of a running cluster, or auto"
        ) from error


def _without_working_folder(place: str) -> dict[str, str]:
    """Makes an empty working folder for workers; otherwise Ray puts the driver's first on their search path."""
    empty = Path(place, "empty")
    empty.mkdir()
    return {"working_dir": str(empty)}


def own_raylet_lives() -> bool:
    """Returns whether the raylet, which starts tasks, of a cluster that was started here still runs."""
    from ray._private import worker

    node: Any = worker._global_node
    started = node.all_processes.get("raylet", []) if node is not None else []
    return all(one.process.poll() is None for one in started)


def end_own_processes() -> None:
    """Kills all processes of a cluster that was started here, after its raylet has died."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def be_quiet() -> None:
    """Keeps Ray's messages on dead workers off standard output, where results go; the driver reports them itself.

    Ray reads this setting only at its first import.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Restores the SIGTERM handler, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Yields a new folder below /tmp, removed afterwards; its name is short because paths of sockets must be."""
    place = tempfile.mkdtemp(prefix="pa-ray-", dir="/tmp" if os.name == "posix" else None)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_while_written(place: str) -> None:
    """Removes a cluster's folder repeatedly, because processes that are ending can create it again."""
    until = time.monotonic() + LINGERING_SECONDS
    while time.monotonic() < until:
        shutil.rmtree(place, ignore_errors=True)
        time.sleep(0.1)


def last_line(error: BaseException) -> str:
    """Returns the last line of an error message; Ray's long messages end with the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
