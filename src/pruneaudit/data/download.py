"""Gets published files into the folder of data sets, and checks that they are what was published.

A file is downloaded to a temporary name beside its own (by `pooch`), checked, and renamed: under its own name it is
whole or absent. Where somebody trustworthy has published a checksum, the file must have it. Where nobody has, the
SHA-256 of the first copy is written beside it (`NAME.sha256`, as `sha256sum -c` reads it), and later uses must agree:
that shows a change, not that the first copy was right, so it is called unverified.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.errors import StorageError, UserError, printable
from pruneaudit.core.files import is_storage_failure, storage_reason, write_atomically

UNCHECKED = "its format is checked, no checksum"
"""What is said of copies that are not the published files: unpacked, or packed anew."""
SECONDS_BETWEEN_LINES = 5.0
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """One published file."""

    name: str
    """Its name, as it lies in the folder of data sets."""
    urls: tuple[str, ...]
    """Where it can be had, tried in this order."""
    num_bytes: int | None = None
    """Its size; None: not published."""
    checksum: str | None = None
    """`algorithm:hex digits`; None: nobody has published one."""


def obtain(files: Sequence[RemoteFile], folder: Path, title: str) -> list[Path]:
    """Downloads files; what lies there already is checked instead.

    Args:
        files: which.
        folder: where to; made if need be.
        title: what the data set is called in messages.

    Returns:
        Where they now lie; their checksums are right, or recorded if none is published.

    Raises:
        UserError: every address failed, what came is another file, or the folder cannot be written to.
        StorageError: the disk is full.
    """
    paths = [folder / file.name for file in files]
    for path, file in zip(paths, files, strict=True):
        if not path.is_file():
            _download(file, folder, title, " and ".join(one.name for one in files if not (folder / one.name).is_file()))
        verify(path, file, record=True)
    return paths


def verify(path: Path, file: RemoteFile, record: bool) -> None:
    """Checks a copy of a published file against the published checksum, or against the recorded one.

    Args:
        path: the copy.
        file: what it should be.
        record: if none is published and none recorded, record this copy's.

    Raises:
        UserError: it cannot be read, or has another checksum.
    """
    note = _record_of(path)
    try:
        if file.checksum is not None:
            algorithm, _, expected = file.checksum.partition(":")
            origin, mend = "as published", "get it again"
        elif note.is_file():
            algorithm, expected = "sha256", note.read_text(encoding="ascii").split(" ")[0]
            origin, mend = f"as recorded in {note}", f"get it again, or delete {note.name} if it should have changed"
        else:
            if record:
                _write_record(note, path)
            return
        got = _digest(path, algorithm)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read, or its recorded checksum cannot ({error}): get it again") from None
    if not hmac.compare_digest(got, expected):
        size = "" if file.num_bytes is None else f", {path.stat().st_size:,} bytes of {file.num_bytes:,}"
        raise UserError(f"{path}: has {algorithm} {got}, expected {expected} {origin}{size}: {mend}")


def trust(path: Path, file: RemoteFile) -> str:
    """How far the content of a copy is vouched for, in words; reads nothing large."""
    if file.checksum is not None:
        return f"{file.checksum.partition(':')[0]} published, checked at every use"
    return "unverified, checksum recorded on first use" if _record_of(path).is_file() else "unverified"


def readable_bytes(num_bytes: int) -> str:
    """A size in megabytes (10^6), or kilobytes below one."""
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:,.0f} kB"


def _download(file: RemoteFile, folder: Path, title: str, absent: str) -> None:
    """Tries the addresses of a file in turn; `absent` names all files that must be put there if none works."""
    reasons = []
    for url in file.urls:
        try:
            _fetch(file, url, folder, title)
            return
        except OSError as error:  # of requests as well, whose errors are OSErrors
            if is_storage_failure(error):
                raise StorageError(folder, storage_reason(error)) from None
            if error.filename is not None:
                raise UserError(
                    f"{folder}: cannot write there ({error.strerror or error}); name another folder with --data-root"
                ) from None
            reasons.append(f"{url}: {_reason(error)}")
        except ValueError as error:  # pooch: another checksum, or no address at all
            reasons.append(f"{url}: {f'what came is not {file.checksum}' if 'hash' in str(error) else error}")
    raise UserError(f"{title}: cannot download {file.name} ({'; '.join(reasons)}); put {absent} into {folder}")


def _fetch(file: RemoteFile, url: str, folder: Path, title: str) -> None:
    """Downloads from one address: to a temporary name, then, if the checksum is right, to its own."""
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("ERROR")  # it would ask the user to write a checksum into a program
    # As it is stored: a server that packs a .gz once more would have it unpacked into another file.
    headers = {"Accept-Encoding": "identity"}
    progress = _Progress(f"{title}: {file.name} from {url}")
    fetch = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=_Progress.chunk_bytes, timeout=TIMEOUT_SECONDS, headers=headers
    )
    path = Path(pooch.retrieve(url, file.checksum, fname=file.name, path=folder, downloader=fetch))
    path.chmod(folder.stat().st_mode & 0o666)  # its temporary file was its owner's alone


class _Progress:
    """What pooch asks of a progress bar, as plain lines on stderr, at most one every few seconds."""

    chunk_bytes = 1 << 16
    total = 0
    """What the server announces, in bytes; 0: nothing. pooch sets it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._last: float | None = None

    def update(self, num_bytes: int) -> None:
        """Counts what has come, and says so at once the first time, then now and then."""
        self._done += num_bytes
        now = time.monotonic()
        if self._last is None or now - self._last >= SECONDS_BETWEEN_LINES:
            of = f" of {readable_bytes(self.total)}" if self.total else ""
            so_far = f" ({readable_bytes(self._done)}{of})"
            print(printable(f"downloading {self._what}{so_far}"), file=sys.stderr, flush=True)
            self._last = now

    def reset(self) -> None:
        """Says nothing: pooch counts all once more at the end."""

    def close(self) -> None:
        """Says nothing: an error, or the work that goes on, shows that it is over."""


def _reason(error: OSError) -> str:
    """The kind of failure: the texts of nested connection errors hold whole objects."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the server answered {status}" if status is not None else f"no connection, {type(error).__name__}"


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_record(note: Path, path: Path) -> None:
    digest = _digest(path, "sha256")
    try:
        write_atomically(note, f"{digest}  {path.name}\n")
    except OSError:  # a folder that is not the user's: nothing is recorded
        return
    print(
        printable(f"{path}: unverified, as nobody has published its checksum; recorded sha256 {digest} in {note.name}"),
        file=sys.stderr,
    )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
