"""What is told while a study runs."""

from __future__ import annotations

from typing import Protocol

from pruneaudit.pipeline.plan import Task


class Progress(Protocol):
    """Somebody who watches."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """The work is known."""
        ...

    def done(self, task: Task) -> None:
        """A task is finished and on disk."""
        ...

    def say(self, message: str) -> None:
        """Anything worth a line."""
        ...

    def warn(self, message: str) -> None:
        """Something that the user should know."""
        ...


class Silent:
    """Nobody watches."""

    def begin(self, num_tasks: int, num_reused: int) -> None:
        """Says nothing."""

    def done(self, task: Task) -> None:
        """Says nothing."""

    def say(self, message: str) -> None:
        """Says nothing."""

    def warn(self, message: str) -> None:
        """Says nothing."""
