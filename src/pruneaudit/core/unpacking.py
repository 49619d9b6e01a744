"""How much a file may unpack to. What others send may be a bomb: a few kilobytes that fill the memory.

zip files (also `.npz` and `.pt`) state the sizes of their members, and their readers give out no more than these, so
that the sizes are added up before anything is unpacked. gzip files state none that can be trusted: they are unpacked
once to count, and nothing is kept of that.
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
"""The environment variable that raises the limit."""
DEFAULT_GIB = 16.0
AT_ONCE = 2**30
"""The most bytes that a reader of a stream may ask for in one go."""
BLOCK = 2**20
_STREAMS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""What opens a compressed file, by how it begins."""


def max_unpacked() -> int:
    """The most bytes that a file may unpack to.

    Raises:
        UserError: the environment variable is no number above 0.
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
    """Refuses what unpacks to more than the limit.

    Args:
        name: of the file, for the message.
        num_bytes: what it unpacks to, or more than the limit where that is all that is known.

    Raises:
        UserError: it is too large.
    """
    limit = max_unpacked()
    if num_bytes > limit:
        raise UserError(
            f"{name}: unpacks to {num_bytes:,} bytes or more, expected at most {limit:,}: it could fill the memory; if"
            f" it may, raise the limit with the environment variable {LIMIT}, such as {LIMIT}={2 * limit / 2**30:g}"
        )


def check_zip(path: Path) -> None:
    """Refuses a zip file (`.npz`, `.pt`) whose members unpack to more than the limit; what is no zip file passes.

    Raises:
        UserError: they do.
        OSError: it cannot be read, or is no ordinary file.
    """
    check_file(path)
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as members:
            total = sum(member.file_size for member in members.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # whoever reads it says what is wrong with it
    check_unpacked(str(path), total)


def array_of(archive: Any, key: str, where: str = "") -> np.ndarray:
    """An array of an opened `.npz`.

    Args:
        archive: from `numpy.load`, which loads no pickled objects.
        key: the array's name.
        where: how the message begins, such as the file's name and a colon.

    Raises:
        UserError: it holds Python objects, as pandas keeps texts and missing values.
        Exception: it is damaged, and raises anything from zlib.error to NotImplementedError.
    """
    try:
        found: np.ndarray = archive[key]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise UserError(
            f"{where}'{key}' holds Python objects, which are never loaded; expected plain numbers or texts: write"
            f" numpy.asarray({key}, dtype=str) for texts, with bool, int or float for others"
        ) from None
    return found


def check_gzip(path: Path) -> None:
    """Refuses a gzip file that unpacks to more than the limit.

    Raises:
        UserError: it does.
        OSError, EOFError, zlib.error: it cannot be read, or is damaged.
    """
    check_file(path)
    limit = max_unpacked()
    with gzip.open(path, "rb") as file:
        num_bytes = 0
        while num_bytes <= limit and (block := file.read(BLOCK)):
            num_bytes += len(block)
    check_unpacked(str(path), num_bytes)


class LimitedStream:
    """A compressed file, or a plain one, read as the bytes that it unpacks to, up to the limit.

    It is what `tarfile` needs of a file: whatever a header announces, no more comes out of it.
    """

    def __init__(self, path: Path) -> None:
        """Opens it.

        Raises:
            OSError: it cannot be read, or is no ordinary file.
        """
        check_file(path)
        self._name, self._limit = str(path), max_unpacked()
        with path.open("rb") as file:
            start = file.read(6)
        found = next((opener for magic, opener in _STREAMS.items() if start.startswith(magic)), None)
        self._file: IO[bytes] = path.open("rb") if found is None else found(path)

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            UserError: they lie beyond the limit, or are asked for in too large a piece.
        """
        if size > AT_ONCE:
            check_unpacked(self._name, self._file.tell() + size)
        room = self._limit + 1 - self._file.tell()  # one more shows that there is too much
        data = self._file.read(min(AT_ONCE if size < 0 else size, AT_ONCE, room))
        check_unpacked(self._name, self._file.tell())
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place, unpacking what lies before it."""
        if whence == os.SEEK_SET:
            check_unpacked(self._name, place)
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def __enter__(self) -> LimitedStream:
        return self

    def __exit__(self, *_: Any) -> None:
        """Closes the file."""
        self._file.close()
