"""A task as it is sent to a worker, JSON data that can go to any process, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TaskSpec:
    """A task as sent to a worker."""

    name: str
    action: str
    spec: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Folders of its inputs, by role."""
    staging: str
    """The folder to write in."""
    device: str = "cpu"
    checkpoints: str = ""
    """The folder that its training is kept in between epochs."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints."""
    membership: str = ""
    """The rows of membership.npz that it needs, as `data.membership.to_text` writes them; none for a scoring model."""
    working_folder: str = ""
    """Where modules of the user's may lie, if the task calls a function of theirs; otherwise empty."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> TaskSpec:
        """The request that `to_json` wrote."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class TaskResult:
    """How a request ended."""

    task_spec: TaskSpec
    error: str = ""
    """One line; empty when it succeeded."""
    details: str = ""
    """A traceback, where there is one."""
    kind: str = ""
    """What went wrong: `input` (what the user asked for), `task` (the task itself), `storage` (a full disk),
    `system` (the machine cannot read or write), `death` (the worker process); or nothing."""
    warnings: Sequence[str] = ()
    """What the task warned of."""
    seconds: float = 0.0
    """How long it took."""
