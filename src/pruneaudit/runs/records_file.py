"""records.csv: the only file of a run that names records. From its first byte on, only its owner can read it.

Only `pruneaudit records` writes it. It is not sealed, not sent to trackers and not exported; the counts that the report
shows are another table, `verdicts`. The report lists names only if the user asks for them, and only if the file belongs
to these counts (its SHA-256 is recorded with them).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.core.files import check_file, file_sha256, flush
from pruneaudit.evaluation.records import RECORD_COLUMNS
from pruneaudit.runs.names import RECORDS_FILE

OWNER_MODE = 0o600
"""Readable and writable by the owner alone."""
_TEXTS = ("kind", "release", "victim", "id")


@contextmanager
def new_records(folder: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Writes a new records.csv, list by list; it replaces the old one at the end, and only if nothing failed.

    Args:
        folder: the run's folder.

    Yields:
        A function that appends the records of one list.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / RECORDS_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # `clean` removes what a killed process leaves
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8", errors="replace", newline="", opener=_for_owner) as file:
            file.write(",".join(RECORD_COLUMNS) + "\n")

            def append(records: pd.DataFrame) -> None:
                _in_one_line(records).to_csv(file, index=False, header=False, lineterminator="\n")

            yield append
        flush(temporary)
        temporary.replace(path)
        flush(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _for_owner(path: str, flags: int) -> int:
    """Creates a file with the owner's mode."""
    return os.open(path, flags, OWNER_MODE)


def _in_one_line(records: pd.DataFrame) -> pd.DataFrame:
    """The columns of the file; a carriage return in a name would be read as the end of a line."""
    texts = {column: records[column].astype(str).str.replace("\r", " ") for column in _TEXTS}
    return records.assign(**texts)[list(RECORD_COLUMNS)]


def named_records(folder: Path, sha256: str) -> Iterator[dict[str, Any]]:
    """Yields the named records of a run, as texts by column; none if the file is missing or another one.

    Args:
        folder: the run's folder.
        sha256: of the file that is expected.
    """
    path = folder / RECORDS_FILE
    try:
        check_file(path)
        is_expected = file_sha256(path) == sha256
    except OSError:
        return
    if not is_expected:
        return
    with path.open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row["named"] == "1")
