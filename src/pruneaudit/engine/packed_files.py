"""Packs the files of an artifact, by name, for transfer to another machine and back.

Results from other machines are not trusted. Their file names are checked before anything is written:
only plain names, so that no file lands outside the target folder.
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
"""(n,) uint8 by file name: arrays, because Ray shares them among the processes of a machine without copies."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class UnpackingError(ValueError):
    """Packed files that cannot come from an artifact of this program."""


def pack(folder: Path) -> PackedFiles:
    """Packs all files of a folder without subfolders."""
    return {path.name: np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in sorted(folder.iterdir())}


def unpack(packed: PackedFiles, folder: Path) -> None:
    """Writes packed files into a folder without files of these names; writes nothing if a name is not plain.

    Raises:
        UnpackingError: a name could lead out of the folder, or its content is not bytes.
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
    """Unpacks files into a folder, unless another process of this machine has done so.

    Args:
        fetch: gets the packed files; not called if the folder exists.
        folder: appears completely or not at all; other processes wait meanwhile.
    """
    if folder.exists():
        return
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            beside = Path(tempfile.mkdtemp(dir=folder.parent))  # a killed process leaves this folder incomplete
            unpack(fetch(), beside)
            beside.rename(folder)
