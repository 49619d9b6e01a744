"""A folder that is replaced as a whole, and only where all in it was written by whatever replaces it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pruneaudit.core.errors import UserError

LIST = "exported_files.txt"
"""Every file of an export, itself included, relative to its folder; a folder with any other file is never replaced."""


def check_replaceable(out: Path) -> None:
    """Checks that a folder holds nothing, or only what its list says that an export wrote.

    Raises:
        UserError: the folder holds something that no export wrote.
    """
    there = _files_in(out)
    if not there:
        return
    try:
        its_own = set((out / LIST).read_text(encoding="utf-8").split("\n"))
    except (OSError, ValueError):
        raise UserError(
            f"{out}: holds something else than an earlier export (no {LIST} says what one wrote), and is not replaced;"
            " choose another folder with --out, or move it away"
        ) from None
    if others := there - its_own:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"{out}: holds something else than an earlier export ({min(others)}{more}), and is not replaced; choose"
            " another folder with --out, or move that away"
        )


def put_in_place(staging: Path, out: Path) -> None:
    """Renames a finished folder to `out`, its list of files within; what was there goes after that.

    Raises:
        UserError: something that no export wrote has come into `out` meanwhile.
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
    """All below a folder that is no folder itself, relative to it, with "/" between; empty where there is none."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}
