"""Folders of predictions: one file for each release, and a list of them, which `collect` writes last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import PRIVATE_MODE, read_json, write_atomically
from pruneaudit.external.folder import new_folder

LIST_FILE = "releases.json"
"""Names the files of the other releases, in order; a folder without it is not complete."""


def read_release_files(folder: Path) -> dict[str, Path]:
    """The files of predictions in a folder by release, in the order in which they were collected.

    Raises:
        UserError: the folder has no list of releases, or a damaged one.
    """
    path = folder / LIST_FILE
    try:
        files = read_json(path)["releases"]
        if not files or not all(isinstance(file, str) and Path(file).name == file for file in files.values()):
            raise ValueError("expected names of files by release")
    except FileNotFoundError:
        raise UserError(
            f"{folder}: has no {LIST_FILE}, expected a folder that pruneaudit collect wrote; or give the files of"
            f" predictions: {folder}/*.npz"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no list of releases ({error}); collect the predictions again") from None
    return {str(name): folder / file for name, file in files.items()}


@contextmanager
def new_release_files(folder: Path, names: Sequence[str]) -> Iterator[Mapping[str, Path]]:
    """The files to write, by release; they appear in `folder`, with their list, once all are written.

    Args:
        folder: as for `new_folder`.
        names: the releases; each is the stem of its file.

    Raises:
        UserError: a name cannot be that of a file, or the folder cannot be written to.
        StorageError: the disk is full.
    """
    for name in names:
        if Path(f"{name}.npz").name != f"{name}.npz" or name.startswith(".") or "\0" in name:
            raise UserError(
                f"weights: got the name '{name}' for a release, expected a name that is possible for a file"
            )
    files = {name: f"{name}.npz" for name in names}
    with new_folder(folder, [*files.values(), LIST_FILE]) as staging:
        staging.chmod(PRIVATE_MODE)
        yield {name: staging / file for name, file in files.items()}
        write_atomically(staging / LIST_FILE, json.dumps({"releases": files}, indent=1) + "\n")
