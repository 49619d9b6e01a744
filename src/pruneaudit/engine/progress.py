"""What is told while a study runs."""

from __future__ import annotations

from typing import Protocol

from pruneaudit.engine.plan import Task


class Progress(Protocol):
    """Somebody who watches."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """The work is known."""
        ...

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """A task is finished and on disk; it took so long."""
        ...

    def say(self, message: str) -> None:
        """Anything worth a line."""
        ...

    def warn(self, message: str) -> None:
        """Something that the user should know."""
        ...

    def fail(self, task: Task, reason: str, details: str) -> None:
        """A task was given up, for a reason of one line; `details` may hold a traceback."""
        ...


class Silent:
    """Nobody watches."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Says nothing."""

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Says nothing."""

    def say(self, message: str) -> None:
        """Says nothing."""

    def warn(self, message: str) -> None:
        """Says nothing."""

    def fail(self, task: Task, reason: str, details: str) -> None:
        """Says nothing."""
