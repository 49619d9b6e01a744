"""What is on disk: artifacts in folders that are found by what shaped them.

An artifact is a folder of files. It is written in a private staging folder, checked, sealed with a
`DONE` file that holds its full identity and the SHA-256 of every file, and then renamed into place
in one step. A folder without a valid seal is not an artifact: it is set aside and made again.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pruneaudit.files import file_sha256, writing_error
from pruneaudit.identity import canonical_json, sha256_of

Status = Literal["whole", "missing", "damaged"]
SEAL = "DONE"
STAGING = ".staging"
SET_ASIDE = "set-aside"
CHECKPOINTS = ".checkpoints"


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
        if not folder.exists():
            return "missing", ""
        try:
            seal = json.loads((folder / SEAL).read_text())
            identity, checksums = seal["identity"], dict(seal["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return "damaged", f"{SEAL} is missing or unreadable"
        if identity != artifact.identity:
            return "damaged", "it was made by another configuration"
        for name in sorted({*checksums, *artifact.files}):
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
        """
        absent = [name for name in artifact.files if not (staging / name).is_file()]
        if absent:
            raise RuntimeError(f"{artifact.folder}: {absent[0]} was not written")
        (staging / "config.json").write_text(json.dumps(json.loads(canonical_json(artifact.config)), indent=1) + "\n")
        files = sorted(path.name for path in staging.iterdir())
        seal = {"identity": artifact.identity, "files": {name: file_sha256(staging / name) for name in files}}
        for name in files:
            _flush(staging / name)
        (staging / SEAL).write_text(canonical_json(seal) + "\n")
        _flush(staging / SEAL)
        target = self.path(artifact)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(target)
        _flush(target.parent)

    def checkpoints_of(self, artifact: Artifact) -> Path:
        """Where the training that makes an artifact is kept between epochs."""
        return self.root / CHECKPOINTS / artifact.identity[:16]

    def forget_checkpoints(self, artifact: Artifact) -> None:
        """Removes the checkpoints of a training that is finished."""
        shutil.rmtree(self.checkpoints_of(artifact), ignore_errors=True)

    def set_aside(self, artifact: Artifact) -> Path:
        """Moves a damaged artifact out of the way; nothing is deleted."""
        target = self.root / SET_ASIDE / f"{artifact.folder.replace('/', '--')}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        return self.path(artifact).rename(target)


def _flush(path: Path) -> None:
    """Makes sure that a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
