"""Records the source hashes of user functions in the run folder of a study.

The hash of a source is part of identities. Reading, verifying, attacking or exporting a finished run uses the recorded
hashes. It never imports the functions that a run folder names, because a folder from a stranger would then run the
stranger's code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.target_files import OF_FILES
from pruneaudit.study.user_function import SourceHash, working_folder_searched

SOURCES_FILE = "sources.json"
"""SHA-256 of each source by the function's name, and of each file of weights by its path; of a folder with a network
also the architecture, as JSON text. Absent without any."""


def keep_sources(plan: Plan, folder: Path) -> None:
    """Writes the hashes of the functions that a plan calls, and of a target's files."""
    if plan.sources:
        write_atomically(folder / SOURCES_FILE, json.dumps(plan.sources, indent=1, sort_keys=True) + "\n")
    else:
        (folder / SOURCES_FILE).unlink(missing_ok=True)


def add_sources(plan: Plan, folder: Path) -> None:
    """Adds the hashes of the functions that a plan calls to those that are recorded."""
    if plan.sources:
        known = {**_read(folder / SOURCES_FILE), **plan.sources}
        write_atomically(folder / SOURCES_FILE, json.dumps(known, indent=1, sort_keys=True) + "\n")


@contextmanager
def functions_importable(plan: Plan) -> Iterator[None]:
    """Lets user functions of a plan find modules in the working folder; does nothing without such functions."""
    if all(name.startswith(OF_FILES) for name in plan.sources):
        yield
        return
    with working_folder_searched():
        yield


def recorded_sources(folder: Path) -> SourceHash:
    """Reads the recorded source hashes of user functions; imports nothing.

    Returns:
        A function that returns the recorded hash of a function's source, and raises UserError if there is none.
    """
    known = _read(folder / SOURCES_FILE)

    def source_hash(function_name: str, what: str) -> str:
        if not isinstance(known.get(function_name), str):
            raise UserError(
                f"{folder}: its {SOURCES_FILE} lacks {what}, '{function_name}'; functions and files that a run folder "
                f"names are never read, so repair it with:"
                f" pruneaudit run {folder / 'study.json'} --out {folder.parent}"
            )
        return str(known[function_name])

    return source_hash


def _read(file: Path) -> Mapping[str, object]:
    try:
        known = read_json(file)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
