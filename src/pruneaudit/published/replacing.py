"""Replaces an export folder as a whole, if it contains only files of an earlier export."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pruneaudit.core.errors import UserError

LIST = "exported_files.txt"
"""The list of all files of an export, including itself; a folder with any other file is never replaced."""


def check_replaceable(out: Path) -> None:
    """Checks that a folder is empty, or contains only the files in the list of an earlier export.

    Raises:
        UserError: the folder contains other files.
    """
    there = _files_in(out)
    if not there:
        return
    try:
        its_own = set((out / LIST).read_text(encoding="utf-8").split("\n"))
    except (OSError, ValueError):
        raise UserError(
            f"{out}: contains something other than an earlier export (it has no {LIST}), and is not replaced;"
            " choose another folder with --out, or move it away"
        ) from None
    if others := there - its_own:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"{out}: contains something other than an earlier export ({min(others)}{more}), and is not replaced; "
            f"choose another folder with --out, or move that file away"
        )


def put_in_place(staging: Path, out: Path) -> None:
    """Adds the list of files to a finished folder and renames it to `out`; then removes the earlier export.

    Raises:
        UserError: other files have appeared in `out` meanwhile.
    """
    names = sorted({*_files_in(staging), LIST})
    (staging / LIST).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    check_replaceable(out)
    before = out.with_name(f".{out.name}.{os.getpid()}.before")
    if out.exists():
        out.rename(before)
    try:
        staging.rename(out)
    except OSError:
        if before.exists():
            before.rename(out)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _files_in(folder: Path) -> set[str]:
    """Returns all files below a folder, as relative paths with "/"; empty if the folder does not exist."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}
