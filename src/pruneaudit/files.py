"""Writing a file so that a reader sees the old one or the new one, never half of either; full disks."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pruneaudit.errors import StorageError, UserError


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Writes bytes, or a text as UTF-8, to a temporary file beside `path`, then renames it to `path`.

    The temporary file is opened plainly, so the result has the permissions the user's umask gives.
    What UTF-8 cannot say (half of a surrogate pair, from an undecodable file name) becomes "?".
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", errors="replace"))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
# safetensors and NumPy report a short write in words of their own, without an errno.
_FULL_IN_WORDS = re.compile(rf"os error ({'|'.join(str(code) for code in sorted(_FULL))})\b|requested and \d+ written")


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error says that the disk is full or a size limit was exceeded."""
    return getattr(error, "errno", None) in _FULL or _FULL_IN_WORDS.search(str(error)) is not None


def writing_error(place: Path, error: OSError) -> StorageError | UserError:
    """What a user is told when something could not be written: a full disk, or a folder that is not theirs."""
    if is_storage_failure(error):
        return StorageError(place, storage_reason(error))
    return UserError(f"{place}: cannot write there ({error.strerror or error}); choose another folder with --out")


def storage_reason(error: BaseException) -> str:
    """What is wrong with the disk, in words."""
    code = getattr(error, "errno", None)
    return os.strerror(code) if code in _FULL else "disk full, or file size limit exceeded"


SEALED_FILES = "SHA256SUMS"
"""Checksums of a folder's files, as `sha256sum -c` reads them."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_files(folder: Path, names: Sequence[str]) -> None:
    """Writes the checksums of some files of a folder beside them."""
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in sorted(names)]
    write_atomically(folder / SEALED_FILES, "".join(lines))


def check_sealed(folder: Path) -> dict[str, str]:
    """What is wrong with each file that `seal_files` listed, the list itself included; empty where nothing is."""
    listed = {}
    try:
        lines = (folder / SEALED_FILES).read_text(encoding="ascii").split("\n")
        if lines.pop():
            raise ValueError("the last line is not whole")
        for line in lines:
            checksum, gap, name = line.partition("  ")
            if len(checksum) != 64 or not gap or not name or "/" in name:
                raise ValueError(line)
            listed[name] = checksum
    except (OSError, ValueError):
        return {SEALED_FILES: "missing or unreadable"}
    problems = {SEALED_FILES: ""}
    for name, checksum in listed.items():
        try:
            problems[name] = "" if file_sha256(folder / name) == checksum else "has changed since it was written"
        except OSError:
            problems[name] = "is missing"
    return problems
