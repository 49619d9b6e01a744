"""Folders that are written completely or not at all, with checksums that show later changes."""

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
    """A private folder to write in; its files are moved to `folder` once all of them are there.

    Args:
        folder: an absolute path; if it exists and is not empty, the files `names` in it are replaced and others stay.
        names: all files that can be written; the last one shows that the others are complete.

    Raises:
        UserError: the folder cannot be written to.
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
        for name in reversed(names):  # the last one first: a half-replaced folder does not look complete
            (folder / name).unlink(missing_ok=True)
        for name in names:
            if (staging / name).exists():
                (staging / name).replace(folder / name)
    except OSError as error:
        raise writing_error(folder, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def new_files(out: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """A private folder to write in; its files are moved beside `out` once all of them are there, `out` itself last.

    Args:
        out: the file.
        suffixes: of the files that can stand beside it; the first is always written. Earlier ones are removed.

    Raises:
        UserError: the folder cannot be written to.
        StorageError: the disk is full.
    """
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True)
        yield staging
        make_readable(staging, out.name + suffixes[0])
        for suffix in suffixes:  # of an earlier export
            beside(out, suffix).unlink(missing_ok=True)
        for path in sorted(staging.iterdir(), key=lambda path: path.name == out.name):
            path.replace(out.with_name(path.name))
    except OSError as error:
        raise writing_error(out, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def beside(file: Path, suffix: str) -> Path:
    """The file next to another one, with its name and a suffix."""
    return file.with_name(file.name + suffix)


def make_readable(folder: Path, like: str) -> None:
    """Gives all files of a folder default permissions; safetensors makes them readable only for their owner."""
    mode = (folder / like).stat().st_mode & 0o777
    for path in folder.iterdir():
        path.chmod(mode)


def read_summary(path: Path) -> dict[str, Any]:
    """Reads the summary of a folder, which names its other files.

    Raises:
        UserError: there is no summary, or it is damaged.
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
    """Checks that files have not changed since they were written.

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
