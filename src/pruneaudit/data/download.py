"""Downloads published files to the folder of data sets, and verifies them.

A file is downloaded (by `pooch`) under a temporary name, checked, and renamed. So a file with its own name is always
complete. If a trustworthy checksum is published, the file must match it. Otherwise the SHA-256 of the first copy is
recorded next to it (`NAME.sha256`, in the format of `sha256sum -c`), and later uses must match that. This detects
changes, but does not prove that the first copy was right, so such a file is called unverified.
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
"""Description of unpacked or repacked copies of the published files."""
SECONDS_BETWEEN_LINES = 5.0
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """One published file."""

    name: str
    """Its name in the folder of data sets."""
    urls: tuple[str, ...]
    """Its addresses, tried in this order."""
    num_bytes: int | None = None
    """Its size; None: not published."""
    checksum: str | None = None
    """`algorithm:hex digits`; None: not published."""


def obtain(files: Sequence[RemoteFile], folder: Path, title: str) -> list[Path]:
    """Downloads missing files, and verifies all.

    Args:
        files: the files.
        folder: the target folder, created if necessary.
        title: the name of the data set in messages.

    Returns:
        The paths of the files; their checksums match, or are recorded if none are published.

    Raises:
        UserError: every address failed, the downloaded file is a different one, or the folder is not writable.
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
        file: the published file.
        record: record the checksum of this copy if none is published or recorded.

    Raises:
        UserError: it is unreadable, or its checksum does not match.
    """
    note = _record_of(path)
    try:
        if file.checksum is not None:
            algorithm, _, expected = file.checksum.partition(":")
            origin, mend = "as published", "download it again"
        elif note.is_file():
            algorithm, expected = "sha256", note.read_text(encoding="ascii").split(" ")[0]
            origin, mend = (
                f"as recorded in {note}",
                f"download it again, or delete {note.name} if the change is intended",
            )
        else:
            if record:
                _write_record(note, path)
            return
        got = _digest(path, algorithm)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: file or recorded checksum is unreadable ({error}): download it again") from None
    if not hmac.compare_digest(got, expected):
        size = "" if file.num_bytes is None else f", {path.stat().st_size:,} bytes of {file.num_bytes:,}"
        raise UserError(f"{path}: has {algorithm} {got}, expected {expected} {origin}{size}: {mend}")


def trust(path: Path, file: RemoteFile) -> str:
    """Describes how far the content of a copy is verified; reads no large files."""
    if file.checksum is not None:
        return f"{file.checksum.partition(':')[0]} published, checked at every use"
    return "unverified, checksum recorded on first use" if _record_of(path).is_file() else "unverified"


def readable_bytes(num_bytes: int) -> str:
    """Formats a size in megabytes (10^6), or in kilobytes below that."""
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:,.0f} kB"


def _download(file: RemoteFile, folder: Path, title: str, absent: str) -> None:
    """Tries the addresses of a file in turn; `absent` names all files that the user must supply if none works."""
    reasons = []
    for url in file.urls:
        try:
            _fetch(file, url, folder, title)
            return
        except OSError as error:  # includes the errors of requests
            if is_storage_failure(error):
                raise StorageError(folder, storage_reason(error)) from None
            if error.filename is not None:
                raise UserError(
                    f"{folder}: cannot write there ({error.strerror or error}); name another folder with --data-root"
                ) from None
            reasons.append(f"{url}: {_reason(error)}")
        except ValueError as error:  # pooch: wrong checksum, or invalid address
            reasons.append(
                f"{url}: {f'the download does not match {file.checksum}' if 'hash' in str(error) else error}"
            )
    raise UserError(f"{title}: cannot download {file.name} ({'; '.join(reasons)}); put {absent} into {folder}")


def _fetch(file: RemoteFile, url: str, folder: Path, title: str) -> None:
    """Downloads from one address to a temporary name, and renames the file if its checksum is right."""
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("ERROR")  # hides pooch's advice to write a checksum into a program
    # No transfer compression: otherwise a .gz file could be unpacked on the way.
    headers = {"Accept-Encoding": "identity"}
    progress = _Progress(f"{title}: {file.name} from {url}")
    fetch = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=_Progress.chunk_bytes, timeout=TIMEOUT_SECONDS, headers=headers
    )
    path = Path(pooch.retrieve(url, file.checksum, fname=file.name, path=folder, downloader=fetch))
    path.chmod(folder.stat().st_mode & 0o666)  # the temporary file was readable by its owner only


class _Progress:
    """A progress bar for pooch: plain lines on stderr, at most one every few seconds."""

    chunk_bytes = 1 << 16
    total = 0
    """Total bytes announced by the server, set by pooch; 0: unknown."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = 0
        self._last: float | None = None

    def update(self, num_bytes: int) -> None:
        """Counts received bytes; reports at once, then at intervals."""
        self._done += num_bytes
        now = time.monotonic()
        if self._last is None or now - self._last >= SECONDS_BETWEEN_LINES:
            of = f" of {readable_bytes(self.total)}" if self.total else ""
            so_far = f" ({readable_bytes(self._done)}{of})"
            print(printable(f"downloading {self._what}{so_far}"), file=sys.stderr, flush=True)
            self._last = now

    def reset(self) -> None:
        """Does nothing: pooch calls it at the end and counts everything again."""

    def close(self) -> None:
        """Does nothing: later output shows that the download is over."""


def _reason(error: OSError) -> str:
    """Returns the kind of failure, because the texts of nested connection errors contain whole objects."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the server answered {status}" if status is not None else f"no connection, {type(error).__name__}"


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_record(note: Path, path: Path) -> None:
    digest = _digest(path, "sha256")
    try:
        write_atomically(note, f"{digest}  {path.name}\n")
    except OSError:  # a read-only folder: nothing is recorded
        return
    print(
        printable(f"{path}: unverified (no checksum is published); recorded sha256 {digest} in {note.name}"),
        file=sys.stderr,
    )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
