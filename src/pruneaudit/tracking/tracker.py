"""The base class of experiment trackers, and the names of values in all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pruneaudit.core.options import Options

_MAX_PART = 80
_PERCENT = "pct"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.:-]")
"""Characters that MLflow does not allow in a part of a name."""


class Tracker:
    """A tracking system for runs. It imports its library in `begin` or later.

    The methods are called on a separate thread, one after another: `begin`, then `curve` after each training,
    `findings` and `files` once, and always `end`, if `begin` was called. They can raise any exception: the run then
    continues without this tracker.
    """

    Options: ClassVar[type[Options]] = Options
    """The settings class; torch-free."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable; the package's extra with the tracker's name installs them."""
    name: ClassVar[str] = ""
    """Its name in messages."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.place = ""
        """Where the user finds the tracked run; known after `begin`."""

    def is_remote(self) -> bool:
        """Returns whether it sends to a server, which might not answer; called at the end of the run."""
        return True

    def begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """Starts tracking a run.

        Args:
            about: its provenance, as in about.json: `name`, `study` (all settings), `versions`, `created`, ...
            folder: the run's folder, for local files.
        """
        raise NotImplementedError

    def curve(self, name: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Sends the curve of a trained model.

        Args:
            name: release and model, such as "dense/model-003".
            rows: one per epoch, in order: `epoch` (from 1), `loss`, and other measurements; can contain NaN.
        """
        raise NotImplementedError

    def findings(self, values: Mapping[str, float]) -> None:
        """Sends the findings, by the names of `finding_values`; without NaN."""
        raise NotImplementedError

    def files(self, paths: Sequence[Path]) -> None:
        """Sends files of the run: report, findings, study."""
        raise NotImplementedError

    def end(self, failed: bool) -> None:
        """Ends tracking; `failed` if the run was not finished. Can be called even if `begin` failed."""
        raise NotImplementedError


def tracked_name(*parts: str) -> str:
    """Joins the parts with slashes, in characters that every tracker allows: "tpr_at_1%_fpr" as "tpr_at_1pct_fpr"."""
    return "/".join(_FORBIDDEN.sub("_", part.replace("%", _PERCENT))[:_MAX_PART] for part in parts)


def epoch_of(row: Mapping[str, float], index: int) -> int:
    """Returns the epoch of a row of a curve, from 1; derived from its index if it names none."""
    return int(row.get("epoch", index + 1))


def flat_settings(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flattens nested settings: {"training.epochs": 5, "releases.0.sparsity": 0.9}; leaves out empty lists."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list | tuple):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat
