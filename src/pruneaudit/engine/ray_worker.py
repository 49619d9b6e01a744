"""What a Ray worker does: a task on files of its own, whose bytes travel both ways.

It shares no disk with the driver. Its files lie in a folder of the run below the temporary folder of
its machine, which the driver has removed at the end.
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
    """Does one request.

    Args:
        line: the request as JSON; its folders are the driver's, and are not looked at.
        shipped: its inputs by role: what each is known by, and how to get it.
        scratch: name of the run's folder on each machine.
        version: the driver's; another one here could give other results.

    Returns:
        What `attempt` answers, as JSON, and all files that the task has written; none if it failed.
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
    """The same request with folders of this machine; the audit data is unpacked once per machine, the rest per task."""
    folders = {}
    for role, (digest, fetch) in shipped.items():
        folders[role] = (run_folder if role == "audit_data" else private) / f"{role}-{digest}"
        unpacked_once(fetch, folders[role])
    inputs = {role: str(folder) for role, folder in folders.items()}
    staging = private / "staging"
    staging.mkdir()
    # No checkpoints: a task that is tried again may be on another machine, where they are not.
    return replace(task_spec, inputs=inputs, staging=str(staging), checkpoints="")


@contextlib.contextmanager
def _where_users_code_expects_to_be(task_spec: TaskSpec) -> Iterator[None]:
    """In the driver's working folder, if this machine has it and the task calls a function of the user's."""
    place = task_spec.working_folder
    if not place or not Path(place).is_dir():
        yield
        return
    with contextlib.chdir(place):
        yield


def run_folder_here(scratch: str) -> Path:
    """The folder of a run on this machine."""
    return Path(tempfile.gettempdir()) / scratch


def clean_up(scratch: str) -> None:
    """Removes a run's folder from this machine."""
    shutil.rmtree(run_folder_here(scratch), ignore_errors=True)
