"""Finds and removes unused parts of a run folder: artifacts of other studies, quarantined files, old checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.files import read_json
from pruneaudit.engine.learned_scores import ATTACK
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import CHECKPOINTS, QUARANTINED, SEAL, STAGING, Store
from pruneaudit.runs.verify import artifact_folders


@dataclass(frozen=True)
class Leftover:
    """A part that can be removed."""

    path: Path
    num_bytes: int
    reason: str


def leftovers(plan: Plan, store: Store) -> list[Leftover]:
    """Returns the parts of a run folder that its study does not need; changes nothing.

    The outputs of a learned attack are kept while the study has all the signals that it used.

    Args:
        plan: the plan of the study.
        store: the store of the run folder.
    """
    artifacts = {artifact.folder: artifact for artifact in (*plan.given, *(task.artifact for task in plan.tasks))}
    answers = {artifact.identity for artifact in artifacts.values()}
    found = [
        _leftover(folder, "of another study, or of this one with other settings")
        for folder in artifact_folders(store.root)
        if folder.relative_to(store.root).as_posix() not in artifacts and _may_go(folder, store.root, answers)
    ]
    unfinished = {
        store.checkpoints_of(task.artifact) for task in plan.tasks if store.status(task.artifact)[0] != "whole"
    }
    for folder, reason in (
        (store.root / QUARANTINED, "damaged, and made again since"),
        (store.root / STAGING, "of an interrupted task"),
        (store.root / CHECKPOINTS, "checkpoints of a training that is finished or no longer needed"),
    ):
        found += [_leftover(path, reason) for path in _inside(folder) if path not in unfinished]
    found += [_leftover(path, "an incompletely written file") for path in sorted(store.root.glob(".*.tmp"))]
    return found


def remove(leftovers: list[Leftover], store: Store) -> None:
    """Removes leftovers, and folders that are then empty.

    Raises:
        OSError: something cannot be removed.
    """
    for leftover in leftovers:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink()
        parent = leftover.path.parent
        while parent != store.root and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _may_go(folder: Path, root: Path, answers: set[str]) -> bool:
    """Returns whether a folder is a sealed artifact inside the run folder, and not an attack on signals in use."""
    if not folder.resolve().is_relative_to(root.resolve()):
        return False
    try:
        is_sealed = "identity" in read_json(folder / SEAL)
        config = read_json(folder / "config.json")
        is_attack = config["kind"] == ATTACK and set(config["answers"].values()) <= answers
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # not a known artifact
    return is_sealed and not is_attack


def _inside(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else ()


def _leftover(path: Path, reason: str) -> Leftover:
    parts = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return Leftover(path, sum(part.lstat().st_size for part in parts if part.is_symlink() or part.is_file()), reason)
