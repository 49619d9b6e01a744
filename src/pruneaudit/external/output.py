"""Writes a new file of signals, completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import make_private_folder, writing_error
from pruneaudit.signals.signals import Signals


def check_new(path: Path, force: bool, such_as: str = "signals.npz", option: str = "--out") -> None:
    """Checks that a file can be written; `such_as` is an example of a name, `option` takes it.

    Raises:
        UserError: it exists and must not be replaced, or it is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file, such as {path / such_as}")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; choose another file with {option}, or replace it with --force")


def write_signals(signals: Signals, path: Path, force: bool = False) -> None:
    """Writes signals to a temporary file beside `path`, then renames it; a new folder is readable only for its owner.

    Raises:
        UserError: as in `check_new`, or the folder cannot be written to.
        StorageError: the disk is full.
    """
    check_new(path, force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")  # NumPy adds .npz if it is missing
    try:
        make_private_folder(path.parent)
        try:
            signals.save(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise writing_error(path, error) from None
