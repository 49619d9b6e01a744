"""Files: written so that a reader sees the old one or the new one, read without waiting for what is no file, sealed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import RunError, StorageError, UserError


def write_atomically(path: Path, content: str | bytes, flushed: bool = False) -> Path:
    """Writes bytes, or a text as UTF-8, to a temporary file beside `path`, then renames it to `path`.

    The temporary file is opened plainly, so the result has the permissions the user's umask gives. A link in the place
    of either file is replaced, never followed.
    What UTF-8 cannot say (half of a surrogate pair, from an undecodable file name) becomes "?".

    Args:
        path: the file.
        content: what goes into it.
        flushed: returns only when the file, under its name, has reached the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
    try:
        temporary.unlink(missing_ok=True)  # of a process with this number that was killed
        with temporary.open("xb") as file:
            file.write(data)
        if flushed:
            flush(temporary)
        temporary.replace(path)
        if flushed:
            flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def flush(path: Path) -> None:
    """Makes sure that a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_file(path: Path) -> None:
    """Checks that something is an ordinary file, without opening it.

    Raises:
        OSError: it is missing, or a folder, a pipe, a socket or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no ordinary file", str(path))


def open_file(path: Path) -> BufferedReader:
    """Opens an ordinary file for reading. A pipe could be waited for without end, and a device has no end.

    Raises:
        OSError: it is missing, may not be read, or is a folder, a pipe, a socket or a device.
    """
    check_file(path)
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """The content of an ordinary file.

    Raises:
        OSError: as `open_file`.
    """
    with open_file(path) as file:
        return file.read()


MAX_DEPTH = 100
"""Lists and tables within each other, in JSON that is read."""


def read_json(path: Path) -> Any:
    """What an ordinary file of JSON holds.

    Raises:
        OSError: as `open_file`.
        ValueError: it is no JSON in UTF-8, or nested more than `MAX_DEPTH` deep.
    """
    return parse_json(read_bytes(path).decode("utf-8"))


def parse_json(text: str) -> Any:
    """What a text of JSON says.

    Raises:
        TooDeepError: it is nested more than `MAX_DEPTH` deep.
        ValueError: it is no JSON.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise TooDeepError from None
    check_depth(found)
    return found


class TooDeepError(ValueError):
    """Lists and tables lie in each other more than `MAX_DEPTH` deep."""

    def __init__(self) -> None:
        super().__init__("nested too deeply")


def check_depth(value: Any) -> None:
    """Checks that lists and tables lie in each other no more than `MAX_DEPTH` deep.

    Raises:
        TooDeepError: they do.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _parts(outer)]
        if not level:
            return
    raise TooDeepError


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def check_new_folder(folder: Path, force: bool) -> Path:
    """Checks that a folder may be written, before anything is computed for it.

    Returns:
        Its absolute path.

    Raises:
        UserError: it is no folder, or is not empty and nothing in it is to be replaced.
    """
    folder = folder.expanduser().resolve()
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file, expected a folder; choose another folder with --out")
        if folder.exists() and not force and next(folder.iterdir(), None):
            raise UserError(f"{folder}: is not empty; choose another folder, or replace what is there with --force")
    except OSError as error:
        raise writing_error(folder, error) from None
    return folder


PRIVATE_MODE = 0o700
"""Of folders that hold people's data: nobody but their owner looks in."""


def make_private_folder(folder: Path) -> None:
    """Makes a folder for its owner alone, and the folders on the way to it as usual; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE_MODE, exist_ok=True)


def open_to_others(folder: Path) -> str:
    """What to warn of where others may look into a folder of people's data; empty where they may not."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name != "posix" or not mode & 0o077:
        return ""
    return (
        f"{folder} holds people's data and others may look into it (mode {mode:04o}); to keep them out:"
        f" chmod 700 {shlex.quote(str(folder))}"
    )


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FAILING = {
    *(errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE),
}
"""The machine fails, not the task: a broken or vanished disk, one that became read-only, no more open files."""
_OS_ERROR = re.compile(r"os error (\d+)\b")
"""How safetensors reports an errno."""
_SHORT_WRITE = re.compile(r"requested and \d+ written")
"""How NumPy reports a full disk, without an errno."""


def _errno(error: BaseException) -> int | None:
    """The operating system's number of an error, whatever library reports it."""
    number = getattr(error, "errno", None)
    found = _OS_ERROR.search(str(error))
    return number if number is not None else int(found[1]) if found else None


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error says that the disk is full or a size limit was exceeded."""
    return _errno(error) in _FULL or _SHORT_WRITE.search(str(error)) is not None


def is_system_failure(error: BaseException) -> bool:
    """Whether an error says that the machine fails: a disk that cannot be read or written, no more open files."""
    return _errno(error) in _FAILING


def writing_error(place: Path, error: OSError, begun: bool = False) -> RunError | UserError:
    """The error to raise where something could not be written.

    Args:
        place: the folder or file.
        error: why it could not be written.
        begun: whether work was done before, so that the same command should be repeated, not another folder chosen.

    Returns:
        `StorageError` for a full disk; `RunError` where the machine fails or work has begun; otherwise `UserError`.
    """
    if is_storage_failure(error):
        return StorageError(place, storage_reason(error))
    if begun or is_system_failure(error):
        return RunError(f"{place}: cannot write there ({system_reason(error)})")
    return UserError(f"{place}: cannot write there ({error.strerror or error}); choose another folder with --out")


@contextmanager
def writing(place: Path, begun: bool = False) -> Iterator[None]:
    """Turns an `OSError` within it into the error of `writing_error`; a reader of our output that has gone is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise writing_error(place, error, begun) from None


def storage_reason(error: BaseException) -> str:
    """What is wrong with a disk that is full, in words."""
    code = _errno(error)
    return os.strerror(code) if code in _FULL else "disk full, or file size limit exceeded"


def system_reason(error: BaseException) -> str:
    """What is wrong with the machine, in words."""
    code = _errno(error)
    return str(error) if code is None else os.strerror(code)


WEIGHTS_FILE = "model.safetensors"
MASK_FILE = "mask.safetensors"
COMPRESSED_FILE = "compressed.safetensors"
STRUCTURE_FILE = "structure.json"
"""What was removed from the architecture, where a method makes it smaller."""
STUDY_FILE = "study.json"
"""What a run folder calls its study."""
SUMMARY_FILE = "summary.json"
HISTORY_FILE = "history.csv"

SEALED_FILES = "SHA256SUMS"
"""Checksums of a folder's files, as `sha256sum -c` reads them."""


def file_sha256(path: Path) -> str:
    """SHA-256 of the bytes of an ordinary file, 64 hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_files(folder: Path, names: Sequence[str]) -> None:
    """Writes the checksums of some files of a folder beside them; the files and the list have then reached the disk."""
    for name in names:
        flush(folder / name)
    _write_seal(folder, {name: file_sha256(folder / name) for name in names})


def seal_again(folder: Path, name: str) -> None:
    """Puts one file, which has been written anew, into the list of a folder; the other lines stay as they are.

    Raises:
        ValueError: there is no list, or it cannot be read.
    """
    flush(folder / name)
    _write_seal(folder, _sealed(folder) | {name: file_sha256(folder / name)})


def _write_seal(folder: Path, checksums: Mapping[str, str]) -> None:
    lines = [f"{checksums[name]}  {name}\n" for name in sorted(checksums)]
    write_atomically(folder / SEALED_FILES, "".join(lines), flushed=True)


def _sealed(folder: Path) -> dict[str, str]:
    """The checksums that `seal_files` has written, by name.

    Raises:
        ValueError: the list is missing, cannot be read, or is not as it was written.
    """
    listed: dict[str, str] = {}
    try:
        *lines, rest = read_bytes(folder / SEALED_FILES).decode("ascii").split("\n")
    except OSError as error:
        raise ValueError(str(error)) from None
    if rest:
        raise ValueError("the last line is not whole")
    for line in lines:
        checksum, gap, name = line.partition("  ")
        if len(checksum) != 64 or not gap or not name or "/" in name or name in listed:
            raise ValueError(line)
        listed[name] = checksum
    return listed


def check_sealed(folder: Path, expected: Sequence[str] = (), if_there: Sequence[str] = ()) -> dict[str, str]:
    """What is wrong with each file that `seal_files` listed, the list itself included; empty where nothing is.

    A list that lacks a file is no proof for it: such a file counts as wrong.

    Args:
        folder: where they lie.
        expected: files that must be listed.
        if_there: files that must be listed where they are there.
    """
    try:
        listed = _sealed(folder)
    except ValueError:
        return {SEALED_FILES: "missing or unreadable"}
    problems = {SEALED_FILES: ""}
    for name, checksum in listed.items():
        try:
            problems[name] = "" if file_sha256(folder / name) == checksum else "has changed since it was written"
        except OSError:
            problems[name] = "is missing"
    for name in (*expected, *(name for name in if_there if os.path.lexists(folder / name))):
        problems.setdefault(name, f"is not listed in {SEALED_FILES}")
    return problems
