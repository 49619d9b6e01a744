"""Limits the unpacked size of files, because a hostile file of a few kilobytes could fill the memory.

zip files (also `.npz` and `.pt`) state the sizes of their members, and readers return no more than that, so the sizes
are added up before unpacking. The sizes in gzip files cannot be trusted: they are unpacked once to count the bytes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import check_file

if TYPE_CHECKING:
    import numpy as np

LIMIT = "PRUNEAUDIT_MAX_UNPACKED_GIB"
"""Environment variable that raises the limit."""
DEFAULT_GIB = 16.0
AT_ONCE = 2**30
"""Maximum number of bytes of a single read from a stream."""
BLOCK = 2**20
_STREAMS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""The function that opens a compressed file, by its first bytes."""


def max_unpacked() -> int:
    """Returns the maximum number of bytes that a file can unpack to.

    Raises:
        UserError: the environment variable is not a number above 0.
    """
    given = os.environ.get(LIMIT, "")
    try:
        limit = float(given or DEFAULT_GIB)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise UserError(f"{LIMIT}: got '{given}', expected a number of GiB such as {DEFAULT_GIB:g}")
    return int(limit * 2**30)


def check_unpacked(name: str, num_bytes: int) -> None:
    """Refuses a file that unpacks to more than the limit.

    Args:
        name: the name of the file, for the message.
        num_bytes: its unpacked size, or any number above the limit if the size is unknown but too large.

    Raises:
        UserError: it is too large.
    """
    limit = max_unpacked()
    if num_bytes > limit:
        raise UserError(
            f"{name}: unpacks to {num_bytes:,} bytes or more, expected at most {limit:,} (it could fill the memory);"
            f" to allow it, set the environment variable {LIMIT}, such as {LIMIT}={2 * limit / 2**30:g}"
        )


def check_zip(path: Path) -> None:
    """Refuses a zip file (`.npz`, `.pt`) whose members unpack to more than the limit; other files pass.

    Raises:
        UserError: it is too large.
        OSError: it is unreadable, or not an ordinary file.
    """
    check_file(path)
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as members:
            total = sum(member.file_size for member in members.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # reading it will report the error
    check_unpacked(str(path), total)


def array_of(archive: Any, key: str, where: str = "") -> np.ndarray:
    """Returns an array of an opened `.npz`.

    Args:
        archive: from `numpy.load` without pickled objects.
        key: the array's name.
        where: the start of the message, such as the file's name and a colon.

    Raises:
        UserError: it contains Python objects, which pandas uses for texts and missing values.
        Exception: it is damaged; anything from zlib.error to NotImplementedError.
    """
    try:
        found: np.ndarray = archive[key]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise UserError(
            f"{where}'{key}' contains Python objects, which are never loaded; expected plain numbers or texts: save"
            f" numpy.asarray({key}, dtype=str) for texts, with bool, int or float for numbers"
        ) from None
    return found


def check_gzip(path: Path) -> None:
    """Refuses a gzip file that unpacks to more than the limit.

    Raises:
        UserError: it is too large.
        OSError, EOFError, zlib.error: it is unreadable or damaged.
    """
    check_file(path)
    limit = max_unpacked()
    with gzip.open(path, "rb") as file:
        num_bytes = 0
        while num_bytes <= limit and (block := file.read(BLOCK)):
            num_bytes += len(block)
    check_unpacked(str(path), num_bytes)


class LimitedStream:
    """Reads the unpacked bytes of a compressed or plain file, up to the limit.

    Provides the file methods that `tarfile` needs, and enforces the limit even if a header states a larger size.
    """

    def __init__(self, path: Path) -> None:
        """Opens it.

        Raises:
            OSError: it is unreadable, or not an ordinary file.
        """
        check_file(path)
        self._name, self._limit = str(path), max_unpacked()
        with path.open("rb") as file:
            start = file.read(6)
        found = next((opener for magic, opener in _STREAMS.items() if start.startswith(magic)), None)
        self._file: IO[bytes] = path.open("rb") if found is None else found(path)

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes.

        Raises:
            UserError: they are beyond the limit, or `size` is too large.
        """
        if size > AT_ONCE:
            check_unpacked(self._name, self._file.tell() + size)
        room = self._limit + 1 - self._file.tell()  # one byte more shows that the limit is exceeded
        data = self._file.read(min(AT_ONCE if size < 0 else size, AT_ONCE, room))
        check_unpacked(self._name, self._file.tell())
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place; unpacks everything before it."""
        if whence == os.SEEK_SET:
            check_unpacked(self._name, place)
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Returns the current place."""
        return self._file.tell()

    def __enter__(self) -> LimitedStream:
        return self

    def __exit__(self, *_: Any) -> None:
        """Closes the file."""
        self._file.close()
