"""Checks the parts of a run folder: whole, damaged, missing, or no longer part of the study (stale).

A part is whole if its bytes match the seal. The compressed state of a compressed network must also rebuild the attacked
weights, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import COMPRESSED_FILE, SEALED_FILES, WEIGHTS_FILE, read_json
from pruneaudit.core.identity import sha256_of
from pruneaudit.engine.learned_scores import ATTACK
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import QUARANTINED, SEAL, Artifact, Store

State = Literal["whole", "damaged", "missing", "stale"]


@dataclass(frozen=True)
class Checked:
    """One part of a run and its state."""

    place: str
    """Relative to the run folder."""
    state: State
    reason: str = ""


def checked_files(plan: Plan, store: Store, results: Mapping[str, str]) -> list[Checked]:
    """Checks every artifact of the plan, every other one in the folder, and the result files; changes nothing.

    Artifacts that are whole but not part of the folder's study are `stale`.

    Args:
        plan: the plan of the study.
        store: the store of the run folder.
        results: the problems of the result files, as `check_sealed` returns them.
    """
    wanted = {artifact.folder: artifact for artifact in (*plan.given, *(task.artifact for task in plan.tasks))}
    checked = [_planned(artifact, store) for artifact in wanted.values()]
    for folder in artifact_folders(store.root):
        place = folder.relative_to(store.root).as_posix()
        if place not in wanted:
            checked.append(_unplanned(place, folder, store))
    return checked + list(_results(store.root, results))


def _planned(artifact: Artifact, store: Store) -> Checked:
    status, reason = store.status(artifact)
    if status == "whole" and (problem := _not_rebuilt(artifact, store)):
        return Checked(artifact.folder, "damaged", problem)
    return Checked(artifact.folder, status, reason)


def _not_rebuilt(artifact: Artifact, store: Store) -> str:
    """Says why the weights of a whole artifact do not match its compressed state; empty if they match."""
    if COMPRESSED_FILE not in artifact.files or WEIGHTS_FILE in store.dropped(artifact):
        return ""
    from pruneaudit.compression.state import differing, load_state  # imports torch
    from pruneaudit.training.checkpoint import load_tensors

    folder = store.path(artifact)
    try:
        wrong = differing(load_tensors(folder / WEIGHTS_FILE), load_state(folder))
    except UserError as error:
        return str(error)
    return f"{wrong[0]} does not match the compressed state" if wrong else ""


def _unplanned(place: str, folder: Path, store: Store) -> Checked:
    """Checks an artifact that is not part of the study against its own configuration."""
    try:
        config = read_json(folder / "config.json")
        if not isinstance(config, dict):
            raise ValueError("no table")
        artifact = Artifact(place, config, ())
        status, reason = store.status(artifact)
    except (OSError, ValueError):
        return Checked(place, "damaged", "config.json is missing or unreadable")
    if status == "damaged":
        return Checked(place, "damaged", reason)
    if config.get("kind") == ATTACK:
        return Checked(place, "whole", "outputs of a learned attack")
    return Checked(place, "stale", f"whole, but not part of this study (identity {sha256_of(config)[:8]})")


def artifact_folders(root: Path) -> Iterator[Path]:
    """Yields folders with a seal or a configuration, except quarantined ones."""
    found = {path.parent for name in (SEAL, "config.json") for path in root.rglob(name)}
    for folder in sorted(found):
        first = folder.relative_to(root).parts[0]
        if first != QUARANTINED and not first.startswith("."):
            yield folder


def _results(root: Path, results: Mapping[str, str]) -> Iterator[Checked]:
    if not (root / SEALED_FILES).exists():
        yield Checked(SEALED_FILES, "missing", "the run is not finished")
        return
    for name, problem in results.items():
        yield Checked(name, "damaged" if problem else "whole", problem)
