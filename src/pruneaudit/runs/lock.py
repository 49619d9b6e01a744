"""Locks a folder, so that only one run at a time uses it.

The operating system releases the lock when its owner ends, for whatever reason, so there are no stale
locks. A second file names the owner, for the message.
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
    """A context manager that locks a run folder for this process."""

    def __init__(self, root: Path, wait: bool = False) -> None:
        """Describes the lock, without taking it.

        Args:
            root: the run folder; created if missing.
            wait: wait for another run to end, instead of raising an error.
        """
        self._root = root
        self._timeout = FOREVER if wait else 0.0
        self._lock: FileLock | None = None

    def __enter__(self) -> RunLock:
        """Locks the folder.

        Raises:
            UserError: the folder is not writable, or another run uses it.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._root / LOCK)
            self._lock.acquire(timeout=self._timeout)
            owner = {"pid": os.getpid(), "host": socket.gethostname()}
            write_atomically(self._root / OWNER, json.dumps(owner) + "\n")
        except Timeout:
            raise UserError(
                f"{self._root}: another run uses this folder ({_owner(self._root)}); "
                "wait for it (--wait), or choose another folder with --out"
            ) from None
        except OSError as error:
            raise writing_error(self._root, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Releases the folder."""
        with contextlib.suppress(OSError):  # a failing disk must not hide why the run ended
            (self._root / OWNER).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()


def _owner(root: Path) -> str:
    try:
        owner = read_json(root / OWNER)
        return f"process {int(owner['pid'])} on {str(owner['host'])[:80]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "of an unknown process"
