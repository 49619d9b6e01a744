"""Writing a file so that a reader sees the old one or the new one, never half of either; full disks."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path


def write_atomically(path: Path, text: str) -> Path:
    """Writes `text` as UTF-8 to a temporary file beside `path`, then renames it to `path`.

    The temporary file is opened plainly, so the result has the permissions the user's umask gives.
    What UTF-8 cannot say (half of a surrogate pair, from an undecodable file name) becomes "?".
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8", errors="replace"))
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


def storage_reason(error: BaseException) -> str:
    """What is wrong with the disk, in words."""
    code = getattr(error, "errno", None)
    return os.strerror(code) if code in _FULL else "disk full, or file size limit exceeded"
