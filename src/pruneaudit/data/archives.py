"""Reads single members of published archives, without unpacking to disk.

A member whose name leads out of the archive's folder, or a link in place of a wanted file, is a sign of tampering: the
archive is refused, although it could do no harm here.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar, cast

from pruneaudit.core.errors import UserError
from pruneaudit.core.unpacking import BLOCK, LimitedStream, check_zip

T = TypeVar("T")
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)
"""Exceptions from reading a damaged archive."""


def read_tar(archive: Path, wanted: Collection[str], read: Callable[[str, IO[bytes], int], T]) -> dict[str, T]:
    """Reads the wanted files of a tar archive, compressed or not, with `read`; skips others.

    Args:
        archive: the file.
        wanted: ends of member names, such as `100/feats`; matched by whole path components.
        read: called with the name in `wanted`, the open file and its size in bytes.

    Returns:
        The results of `read`, by name in `wanted`, for the files that the archive has.

    Raises:
        UserError: it is not a whole tar archive, has a name that leads out of it or a link instead of a file, or
            unpacks to more than the limit (`unpacking.py`).
    """
    found = {}
    try:
        with LimitedStream(archive) as stream, tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as members:
            for member in members:
                _check_name(archive, member.name)
                name = _matching(member.name, wanted)
                if name is None or member.isdir():
                    continue
                content = members.extractfile(member) if member.isfile() else None
                if content is None:
                    raise UserError(f"{archive}: member {member.name} is not a plain file: download the archive again")
                found[name] = read(name, content, member.size)
            while stream.read(BLOCK):
                pass  # read to the end, where gzip and similar formats have a checksum
    except DAMAGE as error:
        raise UserError(
            f"{archive}: cannot be read ({error}); expected a whole tar archive: download it again"
        ) from None
    return found


def zip_members(archive: Path, suffix: str, max_bytes: int) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields the files of a zip archive whose names end with `suffix`, in the order of names; skips others.

    Args:
        archive: the file.
        suffix: such as `.tif`, in lower case.
        max_bytes: maximum unpacked size of one file.

    Yields:
        The name and the content.

    Raises:
        UserError: it is not a whole zip archive, has a name that leads out of it, or a member or the whole is too
            large.
    """
    try:
        check_zip(archive)
        with zipfile.ZipFile(archive) as members:
            for member in sorted(members.infolist(), key=lambda info: info.filename):
                _check_name(archive, member.filename)
                if member.is_dir() or not member.filename.lower().endswith(suffix):
                    continue
                if member.file_size > max_bytes:
                    raise UserError(
                        f"{archive}: {member.filename} unpacks to {member.file_size:,} bytes, expected at most "
                        f"{max_bytes:,}: download it again"
                    )
                yield PurePosixPath(member.filename), members.read(member)
    except (*DAMAGE, RuntimeError) as error:  # RuntimeError: needs a password
        raise UserError(
            f"{archive}: cannot be read ({error}); expected a whole zip archive: download it again"
        ) from None


def _matching(name: str, wanted: Collection[str]) -> str | None:
    parts = PurePosixPath(name).parts
    for want in wanted:
        ending = PurePosixPath(want).parts
        if parts[-len(ending) :] == ending:
            return want
    return None


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise UserError(
            f"{archive}: member {name} leads out of the archive's folder: download it again from its source"
        )
