"""The interface of progress displays."""

from __future__ import annotations

from typing import Protocol

from pruneaudit.engine.plan import Task


class Progress(Protocol):
    """A receiver of progress events."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """The number of tasks is known."""
        ...

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """A task is finished and on disk, after `seconds`."""
        ...

    def say(self, message: str) -> None:
        """A message for the user."""
        ...

    def warn(self, message: str) -> None:
        """A warning for the user."""
        ...

    def fail(self, task: Task, reason: str, details: str) -> None:
        """A task failed, with a one-line reason; `details` can contain a traceback."""
        ...


class Silent:
    """A receiver that ignores all events."""

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
