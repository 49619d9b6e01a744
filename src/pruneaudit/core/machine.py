"""The part of the machine's description that every job needs; `pruneaudit.Runtime` implements it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Listener(Protocol):
    """A receiver of progress messages."""

    def say(self, message: str) -> None:
        """Shows a message."""
        ...


class Machine(Protocol):
    """The device of a job, the folder of data sets, and the receiver of messages."""

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `cuda:N`."""
        ...

    @property
    def data_folder(self) -> Path | None:
        """The folder of downloaded data sets; None: the default."""
        ...

    @property
    def progress(self) -> Listener:
        """The receiver of a message for every step."""
        ...


class Silence:
    """A listener that ignores all messages."""

    def say(self, message: str) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Here:
    """This machine with default settings, for jobs without a `Runtime`."""

    device: str = "cpu"
    data_folder: Path | None = None
    progress: Listener = field(default_factory=Silence)


HERE = Here()
