"""Plans how a user's own files of weights enter a run: files of a target, and files that networks start from.

The driver reads a user's file once and stores the weights, by the names of the network, as an artifact of the run: so a
run that was moved no longer needs the file. From there a task makes the model of the target in each release, or loads
the initial weights of a model. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import WEIGHTS_FILE, file_sha256
from pruneaudit.core.identity import sha256_of
from pruneaudit.core.registry import nearest
from pruneaudit.engine.store import Artifact
from pruneaudit.external.weight_files import find_weights, structure_of
from pruneaudit.models._hf_folder import folder_sha256, network_in
from pruneaudit.study import DENSE, Plugin, Release, Target
from pruneaudit.study.starts import folder_of
from pruneaudit.study.training import OWN, SHARED, Training
from pruneaudit.study.user_function import FILE, FOLDER, NETWORK, SourceHash, source_sha256

OF_FILES = (FILE, FOLDER, NETWORK)
"""The prefixes of recorded facts that are not hashes of functions."""
IMPORT_SEMANTICS = 1
TARGET_ID = 0
"""The model id of the target."""


@dataclass(frozen=True)
class UsersWeights:
    """A user's file of weights, and the artifact that holds them in the run."""

    release: str
    """The release whose target it is; empty: all networks start from it."""
    file: str
    """Its path, as the study names it."""
    key: str
    """The key of the weights in it; empty: the one that fits."""
    key_option: str
    """The setting of that key, for messages."""
    spec: Mapping[str, Any]
    """How its network is built; see `task_context.new_model`."""
    artifact: Artifact
    network: Plugin | None = None
    """The network whose folder it is, as the study names it; None: it is a file."""

    @classmethod
    def of_target(cls, target: Target, bank: Mapping[str, Any], source_hash: SourceHash) -> UsersWeights:
        """Returns the weights of the target itself, those of `dense`.

        Args:
            target: the target.
            bank: the configuration of the bank.
            source_hash: hashes files and functions.
        """
        return cls._of(DENSE, (target.weights, target.weights_key), "target.weights_key", bank, source_hash)

    @classmethod
    def of_release(cls, release: Release, config: Mapping[str, Any], source_hash: SourceHash) -> UsersWeights:
        """Returns the weights of the target in a release that names a file.

        Args:
            release: the release.
            config: its configuration.
            source_hash: hashes files and functions.
        """
        option = f"weights_key of release '{release.name}'"
        return cls._of(release.name, (release.weights, release.weights_key), option, config, source_hash)

    @classmethod
    def of_start(cls, training: Training, bank: Mapping[str, Any], source_hash: SourceHash) -> UsersWeights:
        """Returns the weights that all networks start from.

        Args:
            training: the training, which names the file.
            bank: the configuration of the bank.
            source_hash: hashes files and functions.

        Raises:
            UserError: there is no such file.
        """
        try:
            return cls._of("", (training.init_file, training.init_key), "training.init_key", bank, source_hash)
        except UserError as error:
            like = nearest(training.init_file, (OWN, SHARED))
            raise UserError(
                f"training.init: got '{training.init_file}'{like}, expected {OWN}, {SHARED} or a file of weights"
                f" ({error})"
            ) from None

    @classmethod
    def of_folder(
        cls, model: Plugin, has_new_head: bool, bank: Mapping[str, Any], source_hash: SourceHash
    ) -> UsersWeights:
        """Returns the weights of a network's folder, which all networks start from.

        Args:
            model: a network from a folder, as the study names it.
            has_new_head: whether the folder's head is left out.
            bank: the configuration of the bank.
            source_hash: hashes folders and functions.
        """
        folder = folder_of(model)
        config = {
            "kind": "weights",
            "semantics_version": IMPORT_SEMANTICS,
            "sha256": source_hash(FOLDER + folder, f"model '{model.name}'"),
            "model": bank["model"],
        }
        config |= {"head": "new"} if has_new_head else {}
        artifact = Artifact(f"weights-{sha256_of(config)[:8]}", config, (WEIGHTS_FILE,))
        return cls("", folder, "", "", {"model": bank["model"]}, artifact, model)

    @classmethod
    def _of(
        cls, release: str, file: tuple[str, str], key_option: str, spec: Mapping[str, Any], source_hash: SourceHash
    ) -> UsersWeights:
        """Returns the weights of a release, identified by the hash of the file, its key and the network."""
        path, key = file
        network = {part: spec[part] for part in ("model", "prepared") if part in spec}
        config = {
            "kind": "weights",
            "semantics_version": IMPORT_SEMANTICS,
            "sha256": source_hash(FILE + path, _what(release)),
            "key": key,
            **network,
        }
        artifact = Artifact(f"weights-{sha256_of(config)[:8]}", config, (WEIGHTS_FILE,))
        return cls(release, path, key, key_option, network, artifact)

    @property
    def source(self) -> tuple[str, str]:
        """Its name among hashes, and what it is, for messages."""
        return (FOLDER if self.network else FILE) + self.file, _what(self.release)

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return str(self.artifact.config["sha256"])

    @property
    def weights_sha256(self) -> str:
        """The hash of the file of weights alone, which must be there: without architecture or removed channels."""
        return file_sha256(Path(self.file) / WEIGHTS_FILE if self.network else one_file(self.file))


def _what(release: str) -> str:
    return f"weights of '{release}'" if release else "the file of training.init"


def one_file(path: str) -> Path:
    """Returns the one file of weights that a path leads to.

    Raises:
        UserError: there is none, or there are several.
    """
    found = find_weights(path)
    if len(found) != 1:
        raise UserError(f"weights: {path}: found {len(found)} files, expected one; name the file")
    return found[0]


def source_on_disk(name: str, what: str) -> str:
    """Returns the SHA-256 of a user's source, folder, or file of weights with the list of removed channels beside it.

    Args:
        name: `package.module:function`, a path after `FILE` or `FOLDER`, or, for the architecture in a folder instead
            of a hash, its path after `NETWORK`.
        what: the caller, for messages.

    Raises:
        UserError: it cannot be found or read.
    """
    if name.startswith(NETWORK):
        return network_in(name.removeprefix(NETWORK))
    if name.startswith(FOLDER):
        return folder_sha256(name.removeprefix(FOLDER))
    if not name.startswith(FILE):
        return source_sha256(name, what)
    file = one_file(name.removeprefix(FILE))
    structure = structure_of(file)
    return file_sha256(file) if structure is None else sha256_of([file_sha256(file), file_sha256(structure)])


def on_disk_or(recorded: SourceHash) -> SourceHash:
    """Returns hashes from the disk; for a file or folder that is gone, the recorded ones: the run holds its weights."""

    def source_hash(name: str, what: str) -> str:
        try:
            return source_on_disk(name, what)
        except UserError as error:
            if not name.startswith(OF_FILES):
                raise
            try:
                return recorded(name, what)
            except UserError:
                raise error from None

    return source_hash
