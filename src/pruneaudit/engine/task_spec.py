"""The request that is sent to a worker, as JSON data for any process, and its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TaskSpec:
    """The request for one task."""

    name: str
    action: str
    spec: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Folders of its inputs, by role."""
    staging: str
    """The folder to write in."""
    device: str = "cpu"
    checkpoints: str = ""
    """The folder for the checkpoints of its training."""
    checkpoint_seconds: float = 60.0
    """Minimum time between two checkpoints."""
    membership: str = ""
    """The rows of membership.npz that it needs, as `data.membership.to_text` writes them; none for a scoring model."""
    working_folder: str = ""
    """The folder of the user's modules, if the task calls a user's function; otherwise empty."""

    def to_json(self) -> str:
        """Returns the request as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> TaskSpec:
        """Returns the request from a line of `to_json`."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class TaskResult:
    """The result of a request."""

    task_spec: TaskSpec
    error: str = ""
    """The error, in one line; empty if it succeeded."""
    details: str = ""
    """A traceback, if there is one."""
    kind: str = ""
    """The kind of error: `input` (the user's request), `task` (the task itself), `storage` (a full disk),
    `system` (the machine cannot read or write), `death` (of the worker process); empty if it succeeded."""
    warnings: Sequence[str] = ()
    """Warnings of the task."""
    seconds: float = 0.0
    """Duration of the task."""
