"""One run at a time in a folder.

The lock is the operating system's: it goes when its owner goes, however that ends, so a dead owner's
lock needs no taking over. Beside it stands who holds it, for the message.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically, writing_error

LOCK = ".lock"
OWNER = ".owner.json"
FOREVER = -1.0


class RunLock:
    """Holds a run folder for this process while it is entered."""

    def __init__(self, root: Path, wait: bool = False) -> None:
        """Describes the lock; takes nothing.

        Args:
            root: the run folder; made if need be.
            wait: wait for another run to end, rather than refuse.
        """
        self._root = root
        self._timeout = FOREVER if wait else 0.0
        self._lock: FileLock | None = None

    def __enter__(self) -> RunLock:
        """Takes the folder.

        Raises:
            UserError: the folder cannot be written in, or another run is at work there.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._root / LOCK)
            self._lock.acquire(timeout=self._timeout)
            owner = {"pid": os.getpid(), "host": socket.gethostname()}
            write_atomically(self._root / OWNER, json.dumps(owner) + "\n")
        except Timeout:
            raise UserError(
                f"{self._root}: another run is at work there ({_owner(self._root)}); "
                "wait for it (--wait), or choose another folder with --out"
            ) from None
        except OSError as error:
            raise writing_error(self._root, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the folder back."""
        with contextlib.suppress(OSError):  # of a disk that fails, which must not hide why the run ended
            (self._root / OWNER).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()


def _owner(root: Path) -> str:
    try:
        owner = read_json(root / OWNER)
        return f"process {int(owner['pid'])} on {str(owner['host'])[:80]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its owner has not said who it is"
