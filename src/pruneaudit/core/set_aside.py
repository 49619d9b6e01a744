"""Big arrays set aside in a temporary file without a name: they take no memory until they are read again.

The system reads pages of the file when the program touches them. `let_go` gives them back after a use.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from typing import Any

import numpy as np

SMALLEST_BYTES = 2**23
"""Smaller arrays stay in memory."""
MOST_FILES = 200
"""More arrays stay in memory: each keeps a file open, and systems often allow a process 1,024."""
_open_files: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def set_aside(array: np.ndarray) -> np.ndarray:
    """Returns the same numbers, in a file if there are many of them.

    The array can be read and changed as before; changes stay in memory. If the file cannot be written, such as on a
    full disk, the array itself is returned. The file is gone once no array uses it.

    Args:
        array: of numbers or bool; must not be changed through another view afterwards.
    """
    if array.nbytes < SMALLEST_BYTES or _mapping(array) is not None or len(_open_files) >= MOST_FILES:
        return array
    numbers = np.ascontiguousarray(array)
    try:
        with tempfile.TemporaryFile() as file:
            file.write(numbers.data.cast("B"))
            file.flush()
            mapped = mmap.mmap(file.fileno(), numbers.nbytes, access=mmap.ACCESS_COPY)
    except OSError:
        return array
    _open_files.add(mapped)
    return np.frombuffer(mapped, dtype=numbers.dtype).reshape(numbers.shape)


def let_go(array: np.ndarray) -> None:
    """Gives the memory of an array that was set aside back to the system, until it is read again.

    Changes of the array since `set_aside` are lost. Nothing happens to other arrays.
    """
    mapped = _mapping(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Any) -> mmap.mmap | None:
    """The mapped file that an array is a view of, if it is one."""
    base = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base
