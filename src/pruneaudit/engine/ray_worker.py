"""Runs a task in a Ray worker, with local files whose bytes are transferred both ways.

The worker shares no disk with the driver. Its files are in a folder of the run below the temporary
folder of its machine, which the driver removes at the end.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pruneaudit import __version__
from pruneaudit.core.files import is_storage_failure
from pruneaudit.engine.packed_files import PackedFiles, pack, unpacked_once
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.engine.worker import attempt

Fetch: TypeAlias = Callable[[], PackedFiles]


def do_task(line: str, shipped: Mapping[str, tuple[str, Fetch]], scratch: str, version: str) -> tuple[str, PackedFiles]:
    """Runs one request.

    Args:
        line: the request as JSON; its folders belong to the driver and are ignored.
        shipped: its inputs by role: the hash of each, and a function that fetches it.
        scratch: the name of the run's folder on each machine.
        version: the driver's version; another version here could give other results.

    Returns:
        The answer of `attempt`, as JSON, and all files that the task wrote; none if it failed.
    """
    if version != __version__:
        here = f"pruneaudit {__version__} is installed on a machine of the Ray cluster, and {version} here"
        return json.dumps({"kind": "input", "error": f"{here}; install the same everywhere"}), {}
    run_folder = run_folder_here(scratch)
    run_folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=run_folder) as name:
            task_spec = _at_home(TaskSpec.from_json(line), shipped, run_folder, Path(name))
            with _where_users_code_expects_to_be(task_spec):
                answer = attempt(task_spec.to_json())
            return json.dumps(answer), {} if answer["error"] else pack(Path(task_spec.staging))
    except OSError as error:
        if not is_storage_failure(error):
            raise
        full = f"the temporary folder of a Ray worker's machine, {tempfile.gettempdir()}, is full"
        return json.dumps({"kind": "storage", "error": full}), {}


def _at_home(
    task_spec: TaskSpec, shipped: Mapping[str, tuple[str, Fetch]], run_folder: Path, private: Path
) -> TaskSpec:
    """Returns the request with local folders; unpacks the audit data once per machine, other inputs per task."""
    folders = {}
    for role, (digest, fetch) in shipped.items():
        folders[role] = (run_folder if role == "audit_data" else private) / f"{role}-{digest}"
        unpacked_once(fetch, folders[role])
    inputs = {role: str(folder) for role, folder in folders.items()}
    staging = private / "staging"
    staging.mkdir()
    # No checkpoints: a retry can run on another machine.
    return replace(task_spec, inputs=inputs, staging=str(staging), checkpoints="")


@contextlib.contextmanager
def _where_users_code_expects_to_be(task_spec: TaskSpec) -> Iterator[None]:
    """Changes to the driver's working folder, if it exists here and the task calls a user's function."""
    place = task_spec.working_folder
    if not place or not Path(place).is_dir():
        yield
        return
    with contextlib.chdir(place):
        yield


def run_folder_here(scratch: str) -> Path:
    """Returns the folder of a run on this machine."""
    return Path(tempfile.gettempdir()) / scratch


def clean_up(scratch: str) -> None:
    """Removes a run's folder from this machine."""
    shutil.rmtree(run_folder_here(scratch), ignore_errors=True)
