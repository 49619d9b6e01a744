"""What a whole job has to know of the machine; `pruneaudit.Runtime` knows it, and more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Listener(Protocol):
    """Somebody who is told what is being done."""

    def say(self, message: str) -> None:
        """Anything worth a line."""
        ...


class Machine(Protocol):
    """Where a job is done, where data sets lie, and who is told."""

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `cuda:N`."""
        ...

    @property
    def data_folder(self) -> Path | None:
        """Where downloaded data sets lie; None: the usual place."""
        ...

    @property
    def progress(self) -> Listener:
        """Told of every step."""
        ...


class Silence:
    """Nobody listens."""

    def say(self, message: str) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Here:
    """This machine as it is, for jobs that were given no `Runtime`."""

    device: str = "cpu"
    data_folder: Path | None = None
    progress: Listener = field(default_factory=Silence)


HERE = Here()
