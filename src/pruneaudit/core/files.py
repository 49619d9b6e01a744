"""Reading and writing files: atomic writes, reads of ordinary files only, and seals with checksums."""

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

    Readers see either the old or the new file. The result has the permissions of the user's umask. A symbolic link in
    the place of either file is replaced, never followed.
    Characters that UTF-8 cannot encode (surrogates from an undecodable file name) become "?".

    Args:
        path: the file.
        content: the new content.
        flushed: return only after file and name have reached the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
    try:
        temporary.unlink(missing_ok=True)  # left by a killed process with the same id
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
    """Waits until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_file(path: Path) -> None:
    """Checks that a path is an ordinary file, without opening it.

    Raises:
        OSError: it is missing, or a folder, a pipe, a socket or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no ordinary file", str(path))


def open_file(path: Path) -> BufferedReader:
    """Opens an ordinary file for reading. Refuses pipes, which can block forever, and devices, which are endless.

    Raises:
        OSError: it is missing or unreadable, or is a folder, a pipe, a socket or a device.
    """
    check_file(path)
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Returns the content of an ordinary file.

    Raises:
        OSError: as for `open_file`.
    """
    with open_file(path) as file:
        return file.read()


MAX_DEPTH = 100
"""Maximum nesting depth of JSON and TOML."""


def read_json(path: Path) -> Any:
    """Reads an ordinary JSON file.

    Raises:
        OSError: as for `open_file`.
        ValueError: it is not JSON in UTF-8, or is nested more than `MAX_DEPTH` deep.
    """
    return parse_json(read_bytes(path).decode("utf-8"))


def parse_json(text: str) -> Any:
    """Parses a JSON text.

    Raises:
        TooDeepError: it is nested more than `MAX_DEPTH` deep.
        ValueError: it is not JSON.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise TooDeepError from None
    check_depth(found)
    return found


class TooDeepError(ValueError):
    """Lists and tables are nested more than `MAX_DEPTH` deep."""

    def __init__(self) -> None:
        super().__init__("nested too deeply")


def check_depth(value: Any) -> None:
    """Checks that lists and tables are nested at most `MAX_DEPTH` deep.

    Raises:
        TooDeepError: they are nested deeper.
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
    """Checks that a folder can be written, before anything is computed for it.

    Returns:
        Its absolute path.

    Raises:
        UserError: it is not a folder, or it is not empty and `force` is not set.
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
"""Mode of folders with people's data: accessible to their owner only."""


def make_private_folder(folder: Path) -> None:
    """Creates a folder for its owner only, and its parents with the usual mode; an existing folder keeps its mode.

    Raises:
        OSError: it cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE_MODE, exist_ok=True)


def open_to_others(folder: Path) -> str:
    """Returns a warning if others can read a folder of people's data; empty if they cannot."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name != "posix" or not mode & 0o077:
        return ""
    return (
        f"{folder} contains people's data, and other users can read it (mode {mode:04o}); to prevent this:"
        f" chmod 700 {shlex.quote(str(folder))}"
    )


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FAILING = {
    *(errno.EIO, errno.ESTALE, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE),
}
"""Errors of the machine, not of a task: a broken, missing or read-only disk, or too many open files."""
_OS_ERROR = re.compile(r"os error (\d+)\b")
"""How safetensors reports an errno."""
_SHORT_WRITE = re.compile(r"requested and \d+ written")
"""How NumPy reports a full disk, without an errno."""


def _errno(error: BaseException) -> int | None:
    """Returns the operating system's number of an error, from any library."""
    number = getattr(error, "errno", None)
    found = _OS_ERROR.search(str(error))
    return number if number is not None else int(found[1]) if found else None


def is_storage_failure(error: BaseException) -> bool:
    """Returns whether the disk is full or a size limit was exceeded."""
    return _errno(error) in _FULL or _SHORT_WRITE.search(str(error)) is not None


def is_system_failure(error: BaseException) -> bool:
    """Returns whether the machine failed: an unreadable or unwritable disk, or too many open files."""
    return _errno(error) in _FAILING


def writing_error(
    place: Path, error: OSError, begun: bool = False, instead: str = "another folder with --out"
) -> RunError | UserError:
    """Returns the error to raise if something could not be written.

    Args:
        place: the folder or file.
        error: why it could not be written.
        begun: whether work was done before: then the user should repeat the command, not choose another folder.
        instead: what the user can choose.

    Returns:
        `StorageError` for a full disk; `RunError` if the machine failed or work had begun; otherwise `UserError`.
    """
    if is_storage_failure(error):
        return StorageError(place, storage_reason(error))
    if begun or is_system_failure(error):
        return RunError(f"{place}: cannot write there ({system_reason(error)})")
    return UserError(f"{place}: cannot write there ({error.strerror or error}); choose {instead}")


@contextmanager
def writing(place: Path, begun: bool = False) -> Iterator[None]:
    """Converts an `OSError` within it to the error of `writing_error`; lets `BrokenPipeError` pass."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise writing_error(place, error, begun) from None


def storage_reason(error: BaseException) -> str:
    """Describes the error of a full disk in words."""
    code = _errno(error)
    return os.strerror(code) if code in _FULL else "disk full, or file size limit exceeded"


def system_reason(error: BaseException) -> str:
    """Describes an error of the machine in words."""
    code = _errno(error)
    return str(error) if code is None else os.strerror(code)


WEIGHTS_FILE = "model.safetensors"
MASK_FILE = "mask.safetensors"
COMPRESSED_FILE = "compressed.safetensors"
EARLY_FILE = "early.safetensors"
ADAPTER_FILE, ADAPTER_CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
"""The weights of an early step of a dense training, if the study keeps them."""
STRUCTURE_FILE = "structure.json"
"""The parts that a method removed from the architecture."""
STUDY_FILE = "study.json"
"""The study in a run folder."""
SUMMARY_FILE = "summary.json"
HISTORY_FILE = "history.csv"

SEALED_FILES = "SHA256SUMS"
"""Checksums of a folder's files, in the format of `sha256sum -c`."""


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of an ordinary file, 64 hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_files(folder: Path, names: Sequence[str]) -> None:
    """Writes the checksums of some files of a folder beside them; returns when all have reached the disk."""
    for name in names:
        flush(folder / name)
    _write_seal(folder, {name: file_sha256(folder / name) for name in names})


def seal_again(folder: Path, name: str) -> None:
    """Updates the checksum of one rewritten file in the list of a folder; the other lines stay as they are.

    Raises:
        ValueError: the list is missing or unreadable.
    """
    flush(folder / name)
    _write_seal(folder, _sealed(folder) | {name: file_sha256(folder / name)})


def _write_seal(folder: Path, checksums: Mapping[str, str]) -> None:
    lines = [f"{checksums[name]}  {name}\n" for name in sorted(checksums)]
    write_atomically(folder / SEALED_FILES, "".join(lines), flushed=True)


def _sealed(folder: Path) -> dict[str, str]:
    """Returns the checksums that `seal_files` wrote, by name.

    Raises:
        ValueError: the list is missing, unreadable or malformed.
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
    """Returns the problem of each file that `seal_files` listed, and of the list itself; empty texts mean none.

    A file that the list lacks is unverified and counts as a problem.

    Args:
        folder: the folder of the files.
        expected: files that must be listed.
        if_there: files that must be listed if they exist.
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
