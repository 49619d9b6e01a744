"""The file of signals: a new one, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import make_private_folder, writing_error
from pruneaudit.signals.signals import Signals


def check_new(path: Path, force: bool, such_as: str = "signals.npz") -> None:
    """Checks that a file may be written; `such_as` is what it could be called.

    Raises:
        UserError: there is one already and it is not to be replaced, or it is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file, such as {path / such_as}")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; choose another file with --out, or replace it with --force")


def write_signals(signals: Signals, path: Path, force: bool = False) -> None:
    """Writes signals to a temporary file beside `path`, then renames it; its folder is made for its owner alone.

    Raises:
        UserError: as `check_new`, or the place cannot be written to.
        StorageError: the disk is full.
    """
    check_new(path, force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")  # NumPy adds .npz where it does not stand
    try:
        make_private_folder(path.parent)
        try:
            signals.save(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise writing_error(path, error) from None
