"""How often a task is tried whose worker dies: killed by somebody, by the system for its memory, or by a crash.

Only a death is tried again. A task that raises would raise again, and so it has failed.
"""

from __future__ import annotations

from collections import Counter

from pruneaudit.engine.task_spec import TaskResult

MAX_ATTEMPTS = 3


class Attempts:
    """How often each task was handed in."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def count(self, name: str) -> None:
        """Notes that a task is handed in."""
        self._of[name] += 1

    def __getitem__(self, name: str) -> int:
        """How often a task was handed in."""
        return self._of[name]

    def are_left(self, name: str, result: TaskResult) -> bool:
        """Whether a task that ended so is to be tried again."""
        return result.kind == "death" and self[name] < MAX_ATTEMPTS

    def told(self, name: str, result: TaskResult) -> str:
        """What to say before a task is tried again."""
        return f"{name}: {result.error}; trying again ({self[name]} of {MAX_ATTEMPTS} attempts)"
