"""Reads single members of archives that others made. Nothing is ever unpacked to disk.

A name that leads out of the archive's own folder, or a link in the place of a file that is wanted, shows that somebody
has tampered with an archive: it is refused, although it could do no harm here.
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
"""What reading a damaged archive raises."""


def read_tar(archive: Path, wanted: Collection[str], read: Callable[[str, IO[bytes], int], T]) -> dict[str, T]:
    """What `read` makes of the wanted files of a tar archive, compressed or not; others are passed over.

    Args:
        archive: the file.
        wanted: ends of member names, such as `100/feats`; whole parts of them must agree.
        read: is given which of `wanted` it is, the open file and its size in bytes.

    Returns:
        By the names in `wanted`, those that the archive has.

    Raises:
        UserError: it is no tar archive or cut short, has a name that leads out of it, or a link instead of a file, or
            it unpacks to more than the limit (`unpacking.py`).
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
                    raise UserError(f"{archive}: member {member.name} is no plain file, expected one: get it again")
                found[name] = read(name, content, member.size)
            while stream.read(BLOCK):
                pass  # to the very end, where gzip and its kin have their own checksum
    except DAMAGE as error:
        raise UserError(f"{archive}: cannot be read ({error}); expected a whole tar archive: get it again") from None
    return found


def zip_members(archive: Path, suffix: str, max_bytes: int) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of a zip archive whose names end with `suffix`, by name; others are passed over.

    Args:
        archive: the file.
        suffix: such as `.tif`, in small letters.
        max_bytes: the most that one may unpack to.

    Yields:
        The name and the content.

    Raises:
        UserError: it is no zip archive or cut short, has a name that leads out of it, or a member or the whole is too
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
                        f"{max_bytes:,}: get it again"
                    )
                yield PurePosixPath(member.filename), members.read(member)
    except (*DAMAGE, RuntimeError) as error:  # RuntimeError: a password
        raise UserError(f"{archive}: cannot be read ({error}); expected a whole zip archive: get it again") from None


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
        raise UserError(f"{archive}: member {name} leads out of the archive's folder: get it again from its source")
