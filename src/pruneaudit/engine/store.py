"""What is on disk: artifacts in folders that are found by what shaped them.

An artifact is a folder of files. It is written in a private staging folder, checked, sealed with a
`DONE` file that holds its full identity and the SHA-256 of every file, and then renamed into place
in one step. A folder without a valid seal is not an artifact: it is quarantined and made again.
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
"""The files that an artifact once held and that were removed on purpose, in its seal."""


@dataclass(frozen=True)
class Artifact:
    """One thing that a study makes, before it is known whether it exists."""

    folder: str
    """Where it lies, relative to the run folder."""
    config: Mapping[str, Any]
    """Everything that shapes it, as JSON data; saved beside it."""
    files: tuple[str, ...]
    """The files that it must hold."""

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the configuration, 64 hex digits."""
        return sha256_of(self.config)


class Store:
    """The artifacts of one run folder. Only the driver of a run writes here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_for_writing(self) -> None:
        """Makes the run folder if need be, and removes what interrupted tasks left behind.

        Raises:
            UserError: the folder cannot be written in.
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
        """Where the artifact lies, or will."""
        return self.root / artifact.folder

    def status(self, artifact: Artifact) -> tuple[Status, str]:
        """Whether the artifact is whole; if it is damaged, what is wrong with it."""
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
            return "damaged", "it was made by another configuration"
        for name in sorted({*checksums, *artifact.files} - dropped):
            if name not in checksums:
                return "damaged", f"{name} is not sealed"
            try:
                actual = file_sha256(folder / name)
            except OSError:
                return "damaged", f"{name} is missing"
            if actual != checksums[name]:
                return "damaged", f"{name} has changed"
        return "whole", ""

    def new_staging(self) -> Path:
        """A fresh private folder to write an artifact in."""
        folder = self.root / STAGING / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def commit(self, artifact: Artifact, staging: Path) -> None:
        """Checks and seals what was staged, and moves it into place in one step.

        Raises:
            RuntimeError: a file that the artifact must hold was not written.
            UserError: a link stands on the way to its place.
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
        if target.exists():  # files of it had been dropped, and were wanted again
            target.rename(self.root / STAGING / uuid.uuid4().hex)
        staging.rename(target)
        flush(target.parent)

    def _check_place(self, artifact: Artifact) -> None:
        """Refuses to write through a link: what it leads to is no part of the run."""
        parts = Path(artifact.folder).parts
        _check_no_link(self.root, *(str(Path(*parts[:number])) for number in range(1, len(parts))))

    def drop(self, artifact: Artifact, name: str) -> bool:
        """Removes one file of a whole artifact, which stays whole without it; whether there was one to remove."""
        file, place = self.path(artifact) / name, self.path(artifact) / SEAL
        if not file.exists():
            return False
        seal = read_json(place)
        seal["files"].pop(name, None)
        seal[DROPPED] = sorted({*seal.get(DROPPED, ()), name})
        write_atomically(place, canonical_json(seal) + "\n")  # first: a kill leaves a file too many, never too few
        file.unlink()
        return True

    def dropped(self, artifact: Artifact) -> tuple[str, ...]:
        """The files of an artifact that were removed on purpose."""
        try:
            return tuple(read_json(self.path(artifact) / SEAL).get(DROPPED, ()))
        except (OSError, ValueError, AttributeError, TypeError):
            return ()

    def checkpoints_of(self, artifact: Artifact) -> Path:
        """Where the training that makes an artifact is kept between epochs."""
        return self.root / CHECKPOINTS / artifact.identity[:16]

    def forget_checkpoints(self, artifact: Artifact) -> None:
        """Removes the checkpoints of a training that is finished."""
        shutil.rmtree(self.checkpoints_of(artifact), ignore_errors=True)

    def quarantine(self, artifact: Artifact) -> Path:
        """Moves a damaged artifact out of the way; nothing is deleted.

        Raises:
            UserError: a link stands on the way to it.
        """
        self._check_place(artifact)
        target = self.root / QUARANTINED / f"{artifact.folder.replace('/', '--')}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        return self.path(artifact).rename(target)


def _check_no_link(root: Path, *places: str) -> None:
    """Refuses a run folder with a link in one of the places.

    Raises:
        UserError: there is one.
    """
    for place in places:
        if (root / place).is_symlink():
            raise UserError(
                f"{root / place}: is a link, expected a folder of the run's own; a run writes nothing through links:"
                " remove it, and run the study again"
            )
