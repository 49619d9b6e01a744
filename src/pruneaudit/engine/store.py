"""The store: artifacts on disk, in folders that are found by their identity.

An artifact is a folder of files. It is written to a private staging folder, checked, sealed with a
`DONE` file with its full identity and the SHA-256 of every file, and then renamed into place in one
step. A folder without a valid seal is not an artifact: it is quarantined and made again.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256, flush, read_json, write_atomically, writing_error
from pruneaudit.core.identity import canonical_json, sha256_of

Status = Literal["whole", "missing", "damaged"]
SEAL = "DONE"
STAGING = ".staging"
QUARANTINED = "set-aside"
CHECKPOINTS = ".checkpoints"
DROPPED = "dropped"
"""Key in a seal: files of the artifact that were removed on purpose."""


@dataclass(frozen=True)
class Artifact:
    """The description of one artifact of a study, which need not exist yet."""

    folder: str
    """Its folder, relative to the run folder."""
    config: Mapping[str, Any]
    """Everything that determines it, as JSON data; saved with it."""
    files: tuple[str, ...]
    """The files that it must contain."""

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the configuration, 64 hex digits."""
        return sha256_of(self.config)


class Store:
    """The artifacts of one run folder. Only the driver of a run writes here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_for_writing(self) -> None:
        """Creates the run folder if necessary, and removes leftovers of interrupted tasks.

        Raises:
            UserError: the folder is not writable.
        """
        staging = self.root / STAGING
        _check_no_link(self.root, STAGING, CHECKPOINTS, QUARANTINED)
        try:
            if staging.exists():
                shutil.rmtree(staging)
            staging.mkdir(parents=True)
        except OSError as error:
            raise writing_error(self.root, error) from None

    def path(self, artifact: Artifact) -> Path:
        """Returns the folder of an artifact, which need not exist yet."""
        return self.root / artifact.folder

    def status(self, artifact: Artifact, contents: bool = True) -> tuple[Status, str]:
        """Returns whether the artifact is whole, missing or damaged, and why it is damaged.

        Args:
            artifact: the artifact.
            contents: whether to read its files. If not, they only have to be there, as for an estimate of the work.
        """
        folder = self.path(artifact)
        if folder.is_symlink():
            return "damaged", "it is a link"
        if not folder.exists():
            return "missing", ""
        try:
            seal = read_json(folder / SEAL)
            identity, checksums = seal["identity"], {**seal["files"]}
            dropped = set(seal.get(DROPPED, ()))
            if any("/" in name for name in checksums):
                raise ValueError("a file elsewhere")
        except (OSError, ValueError, KeyError, TypeError):
            return "damaged", f"{SEAL} is missing or unreadable"
        if identity != artifact.identity:
            return "damaged", "it was made with another configuration"
        for name in sorted({*checksums, *artifact.files} - dropped):
            if name not in checksums:
                return "damaged", f"{name} is not sealed"
            if not contents:
                if not (folder / name).is_file():
                    return "damaged", f"{name} is missing"
                continue
            try:
                actual = file_sha256(folder / name)
            except OSError:
                return "damaged", f"{name} is missing"
            if actual != checksums[name]:
                return "damaged", f"{name} has changed"
        return "whole", ""

    def new_staging(self) -> Path:
        """Creates a private folder in which to write an artifact."""
        folder = self.root / STAGING / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def commit(self, artifact: Artifact, staging: Path) -> None:
        """Checks and seals a staged artifact, and moves it into place in one step.

        Raises:
            RuntimeError: a required file was not written.
            UserError: its path contains a link.
        """
        self._check_place(artifact)
        absent = [name for name in artifact.files if not (staging / name).is_file()]
        if absent:
            raise RuntimeError(f"{artifact.folder}: {absent[0]} was not written")
        (staging / "config.json").write_text(json.dumps(json.loads(canonical_json(artifact.config)), indent=1) + "\n")
        files = sorted(path.name for path in staging.iterdir())
        seal = {"identity": artifact.identity, "files": {name: file_sha256(staging / name) for name in files}}
        for name in files:
            flush(staging / name)
        (staging / SEAL).write_text(canonical_json(seal) + "\n")
        flush(staging / SEAL)
        target = self.path(artifact)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # some of its files had been dropped and are needed again
            target.rename(self.root / STAGING / uuid.uuid4().hex)
        staging.rename(target)
        flush(target.parent)

    def _check_place(self, artifact: Artifact) -> None:
        """Refuses to write through a link, whose target is not part of the run."""
        parts = Path(artifact.folder).parts
        _check_no_link(self.root, *(str(Path(*parts[:number])) for number in range(1, len(parts))))

    def drop(self, artifact: Artifact, name: str) -> bool:
        """Removes one file of an artifact, which stays whole without it; returns whether the file existed."""
        file, place = self.path(artifact) / name, self.path(artifact) / SEAL
        if not file.exists():
            return False
        seal = read_json(place)
        seal["files"].pop(name, None)
        seal[DROPPED] = sorted({*seal.get(DROPPED, ()), name})
        write_atomically(
            place, canonical_json(seal) + "\n"
        )  # before the file: a kill leaves one file too many, never too few
        file.unlink()
        return True

    def dropped(self, artifact: Artifact) -> tuple[str, ...]:
        """Returns the files of an artifact that were removed on purpose."""
        try:
            return tuple(read_json(self.path(artifact) / SEAL).get(DROPPED, ()))
        except (OSError, ValueError, AttributeError, TypeError):
            return ()

    def checkpoints_of(self, artifact: Artifact) -> Path:
        """Returns the folder for the checkpoints of an artifact's training."""
        return self.root / CHECKPOINTS / artifact.identity[:16]

    def forget_checkpoints(self, artifact: Artifact) -> None:
        """Removes the checkpoints of a finished training."""
        shutil.rmtree(self.checkpoints_of(artifact), ignore_errors=True)

    def quarantine(self, artifact: Artifact) -> Path:
        """Moves a damaged artifact aside; deletes nothing.

        Raises:
            UserError: its path contains a link.
        """
        self._check_place(artifact)
        target = self.root / QUARANTINED / f"{artifact.folder.replace('/', '--')}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        return self.path(artifact).rename(target)


def _check_no_link(root: Path, *places: str) -> None:
    """Refuses a run folder with a symbolic link in one of the places.

    Raises:
        UserError: there is one.
    """
    for place in places:
        if (root / place).is_symlink():
            raise UserError(
                f"{root / place}: is a link, expected a folder; a run never writes through links: remove it, and run"
                " the study again"
            )
