"""`run.log`: the events of a run folder, one line per event, one field per fact.

Lines look like `2026-11-22T06:10:00Z INFO task="train dense model-003" event=done seconds=2.1`, so that
`grep 'model-003' run.log` shows the history of a model. Every run appends to the log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from pruneaudit.engine.plan import Task
from pruneaudit.engine.progress import Progress

LOG = "run.log"


class _Handler(logging.FileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line; ignores a log that cannot be opened."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignores a log that cannot be written, such as on a full disk."""

    def close(self) -> None:
        """Closes the file; this retries unwritten lines, and ignores errors."""
        with contextlib.suppress(OSError):
            super().close()


class LoggedProgress:
    """A progress display that also writes to the log."""

    def __init__(self, root: Path, watcher: Progress) -> None:
        self._path = root / LOG
        self._watcher = watcher
        self._logger = logging.Logger("pruneaudit.run")  # outside the logger hierarchy, so that no other settings apply
        self._handler: logging.Handler | None = None

    def __enter__(self) -> LoggedProgress:
        if self._path.is_symlink():  # its target is not part of the run
            self._path.unlink()
        self._handler = _Handler(self._path, encoding="utf-8", delay=True)
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self._handler.setFormatter(formatter)
        self._logger.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes how the run ended, and closes the log."""
        if error is not None:
            self.event("ended early", level=logging.ERROR, reason=f"{type(error).__name__}: {error}")
        if self._handler is not None:
            self._logger.removeHandler(self._handler)
            self._handler.close()

    def event(self, event: str, level: int = logging.INFO, **facts: Any) -> None:
        """Writes a line to the log only."""
        fields = {"event": event} | facts
        self._logger.log(level, " ".join(f"{key}={_field(value)}" for key, value in fields.items()))

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Reports the number of tasks."""
        self.event("begin", to_do=num_tasks, reused=num_reused)
        self._watcher.begin(num_tasks, num_reused)

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Reports a task that is finished and on disk."""
        self.event("done", task=task.name, seconds=round(seconds, 2))
        self._watcher.done(task, seconds)

    def say(self, message: str) -> None:
        """Reports a message."""
        self.event("note", text=message)
        self._watcher.say(message)

    def warn(self, message: str) -> None:
        """Reports a warning."""
        self.event("warning", level=logging.WARNING, text=message)
        self._watcher.warn(message)

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Reports a failed task."""
        self.event("failed", level=logging.ERROR, task=task.name, reason=reason, details=details)
        self._watcher.fail(task, reason, details)


def _field(value: Any) -> str:
    text = str(value)
    plain = text and all(character.isalnum() or character in "._-+:/" for character in text)
    return text if plain else json.dumps(text)  # always one line
