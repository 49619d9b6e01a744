"""A worker process: reads requests as lines of JSON, runs them, answers each with a line of JSON.

Results go to the staging folder, never through the pipe. When the driver ends, the pipe closes, and the worker ends at
once, even during a task. So no worker is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import Any, TextIO

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import is_storage_failure, is_system_failure, storage_reason, system_reason
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.study.user_function import working_folder_searched


def attempt(line: str) -> dict[str, Any]:
    """Runs one request; returns the error (`error`, `details`, `kind`), `warnings` and `seconds`."""
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        answer = _attempt(line)
    heard = [" ".join(str(warning.message).split()) for warning in caught]
    return answer | {"warnings": heard, "seconds": time.monotonic() - began}


def _attempt(line: str) -> dict[str, Any]:
    from pruneaudit.engine.tasks import perform  # imports torch, which only a worker needs

    task_spec = TaskSpec.from_json(line)
    folder = task_spec.working_folder
    try:
        with working_folder_searched(folder) if folder else contextlib.nullcontext():
            perform(task_spec)
    except UserError as error:
        return _failure("input", str(error))
    except Exception as error:
        if is_storage_failure(error):
            return _failure("storage", storage_reason(error))
        if is_system_failure(error):
            return _failure("system", system_reason(error))
        return _failure("task", f"{type(error).__name__}: {error}", traceback.format_exc())
    return _failure("", "")


def _failure(kind: str, error: str, details: str = "") -> dict[str, str]:
    return {"kind": kind, "error": " ".join(error.split()), "details": details}


def _read(task_specs: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        task_specs.put(line)
    os._exit(0)  # the driver has closed the pipe or is gone


def _private_stdout() -> TextIO:
    """Returns the pipe to the driver; redirects all other output to stderr."""
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """Works until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which then ends its workers
    answers = _private_stdout()
    task_specs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(task_specs,), daemon=True).start()
    with contextlib.suppress(Exception):  # a request imports it again, and reports the error
        import pruneaudit.engine.tasks  # noqa: F401  # takes seconds, while the driver still plans
    while True:
        print(json.dumps(attempt(task_specs.get())), file=answers, flush=True)


if __name__ == "__main__":
    main()
