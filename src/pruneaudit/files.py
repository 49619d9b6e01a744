"""Writing a file so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import os
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
