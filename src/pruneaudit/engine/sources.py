"""With which sources of users' functions a study was carried out; kept in its run folder.

The hash of a source is part of identities. A finished run is read, verified, attacked and exported by what it has
recorded itself. The functions that a run folder names are never imported for that: a folder from a stranger would run
the stranger's code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically
from pruneaudit.engine.plan import Plan
from pruneaudit.study.target import SourceHash, working_folder_searched

SOURCES_FILE = "sources.json"
"""SHA-256 of each source by the function's name; absent where a study names no function."""


def keep_sources(plan: Plan, folder: Path) -> None:
    """Writes down the hashes of the functions that a plan calls."""
    if plan.sources:
        write_atomically(folder / SOURCES_FILE, json.dumps(plan.sources, indent=1, sort_keys=True) + "\n")
    else:
        (folder / SOURCES_FILE).unlink(missing_ok=True)


@contextmanager
def functions_importable(plan: Plan) -> Iterator[None]:
    """Within it, functions of the user's that a plan calls find modules of the working folder; a no-op without any."""
    if not plan.sources:
        yield
        return
    with working_folder_searched():
        yield


def recorded_sources(folder: Path) -> SourceHash:
    """What a run has recorded of the sources of users' functions; nothing is imported.

    Returns:
        A function that gives the hash of a function's source, and raises UserError for one that is not recorded.
    """
    known = _read(folder / SOURCES_FILE)

    def source_hash(target: str, what: str) -> str:
        if not isinstance(known.get(target), str):
            raise UserError(
                f"{folder}: its {SOURCES_FILE} lacks {what}, '{target}', and a run folder's functions are never"
                f" imported; run the study again, it mends this: pruneaudit run {folder / 'study.json'} --out"
                f" {folder.parent}"
            )
        return str(known[target])

    return source_hash


def _read(file: Path) -> Mapping[str, object]:
    try:
        known = read_json(file)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
