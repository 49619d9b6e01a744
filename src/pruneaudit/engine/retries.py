"""Counts attempts of tasks whose worker died: killed by a user, by the system for lack of memory, or by a crash.

Only a dead worker is retried. A task that raises an error would raise it again, so it fails at once.
"""

from __future__ import annotations

from collections import Counter

from pruneaudit.engine.task_spec import TaskResult

MAX_ATTEMPTS = 3


class Attempts:
    """The number of attempts of each task."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def count(self, name: str) -> None:
        """Counts an attempt of a task."""
        self._of[name] += 1

    def __getitem__(self, name: str) -> int:
        """Returns the number of attempts of a task."""
        return self._of[name]

    def are_left(self, name: str, result: TaskResult) -> bool:
        """Returns whether to retry a task that ended with this result."""
        return result.kind == "death" and self[name] < MAX_ATTEMPTS

    def told(self, name: str, result: TaskResult) -> str:
        """Returns the message before a retry."""
        return f"{name}: {result.error}; trying again ({self[name]} of {MAX_ATTEMPTS} attempts)"
