"""A folder that is written whole or not at all, and that knows whether it is still as it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256, read_json, writing_error


@contextmanager
def new_folder(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A private folder to write in, whose files are moved to `folder` when all of them are there.

    Args:
        folder: an absolute path; if it exists and is not empty, the files `names` in it are replaced and others stay.
        names: all files that may be written; the last one says that the others are whole.

    Raises:
        UserError: the place cannot be written to.
        StorageError: the disk is full.
    """
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True)
        yield staging
        make_readable(staging, names[-1])
        if not folder.exists() or not any(folder.iterdir()):
            if folder.exists():
                folder.rmdir()
            staging.rename(folder)
            return
        for name in reversed(names):  # the last one first: what is half replaced is not taken for whole
            (folder / name).unlink(missing_ok=True)
        for name in names:
            if (staging / name).exists():
                (staging / name).replace(folder / name)
    except OSError as error:
        raise writing_error(folder, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def make_readable(folder: Path, like: str) -> None:
    """Gives all files of a folder the permissions of one opened plainly; safetensors makes them the owner's alone."""
    mode = (folder / like).stat().st_mode & 0o777
    for path in folder.iterdir():
        path.chmod(mode)


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of a folder, which names its other files.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        summary = read_json(path)
        if not isinstance(summary["files"], dict) or not isinstance(summary["sparsity"], float):
            raise TypeError("its values are of other types")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise UserError(
            f"{path}: no summary of a pruned network ({reason}); expected a folder that Pruned.save wrote"
        ) from None
    return dict(summary)


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Checks that files are as they were written.

    Raises:
        UserError: one is missing or has changed.
    """
    for name, expected in sums.items():
        try:
            actual = file_sha256(folder / name)
        except OSError:
            raise UserError(f"{folder / name}: is missing; save the pruned network again") from None
        if actual != expected:
            raise UserError(f"{folder / name}: has changed since it was saved; save the pruned network again")
