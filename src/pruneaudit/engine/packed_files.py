"""Artifacts on their way to another machine and back: the bytes of a folder's files, by name.

What comes back was written elsewhere. Its file names are checked before anything is written: plain
names only, so that no file lands outside the folder that it was meant for.
"""

# n bytes of a file

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from filelock import FileLock

PackedFiles: TypeAlias = Mapping[str, np.ndarray]
"""(n,) uint8 by file name: arrays, since Ray hands them to every process of a machine without a copy."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class UnpackingError(ValueError):
    """A packed files that no artifact of ours can have made."""


def pack(folder: Path) -> PackedFiles:
    """All files of a folder, which has no folders in it."""
    return {path.name: np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in sorted(folder.iterdir())}


def unpack(packed: PackedFiles, folder: Path) -> None:
    """Writes packed files into a folder that holds none of them; writes nothing if one has no plain name.

    Raises:
        ParcelError: a name could lead out of the folder, or what stands under it is not bytes.
    """
    for name, content in packed.items():
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
            raise UnpackingError(f"got a file named {name!r:.80}, expected a plain name")
        if not isinstance(content, np.ndarray) or content.dtype != np.uint8 or content.ndim != 1:
            raise UnpackingError(f"got {type(content).__name__} for the file {name}, expected its bytes")
    for name, content in packed.items():
        with (folder / name).open("xb") as file:
            file.write(np.ascontiguousarray(content).data)


def unpacked_once(fetch: Callable[[], PackedFiles], folder: Path) -> None:
    """Makes sure that a packed files lies in a folder, unpacked by whichever process of this machine comes first.

    Args:
        fetch: gets the packed files; not called if it lies there.
        folder: appears whole or not at all; processes that come meanwhile wait.
    """
    if folder.exists():
        return
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            beside = Path(tempfile.mkdtemp(dir=folder.parent))  # a killed process leaves this one half-full
            unpack(fetch(), beside)
            beside.rename(folder)
