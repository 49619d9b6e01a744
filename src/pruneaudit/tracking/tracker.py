"""What every experiment tracker has in common, and the names that values have in all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pruneaudit.core.options import Options

_MAX_PART = 80
_PERCENT = "pct"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.:-]")
"""MLflow takes no other characters in a name, beside the slash between parts."""


class Tracker:
    """One place that a run is followed in. Its library is imported where it is used, never before `begin`.

    The methods are called on a thread of their own, one after another: `begin`, then `curve` for each training as it
    ends, `findings` and `files` once, and `end` always, if `begin` was called. They may raise what they like: the run
    goes on without this tracker then.
    """

    Options: ClassVar[type[Options]] = Options
    """What can be set; torch-free."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be importable; the package's extra of the tracker's name brings it."""
    name: ClassVar[str] = ""
    """What messages call it."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.place = ""
        """Where to look, for the user; known after `begin`."""

    def is_remote(self) -> bool:
        """Whether it sends to a server, which may not answer; asked when the run is over."""
        return True

    def begin(self, about: Mapping[str, Any], folder: Path) -> None:
        """The run begins.

        Args:
            about: how it comes to be, as in about.json: `name`, `study` (all settings), `versions`, `created`, ...
            folder: the run's folder; what stays on this machine goes into it.
        """
        raise NotImplementedError

    def curve(self, name: str, rows: Sequence[Mapping[str, float]]) -> None:
        """A model has been trained.

        Args:
            name: release and model, such as "dense/model-003".
            rows: one per epoch, in order: `epoch` (from 1), `loss`, and what else was measured; may hold NaN.
        """
        raise NotImplementedError

    def findings(self, values: Mapping[str, float]) -> None:
        """What the attacks found, by `finding_name`; no NaN."""
        raise NotImplementedError

    def files(self, paths: Sequence[Path]) -> None:
        """The files that the run is about: report, findings, study."""
        raise NotImplementedError

    def end(self, failed: bool) -> None:
        """The run is over, and was finished unless it `failed`; may be called though `begin` failed."""
        raise NotImplementedError


def tracked_name(*parts: str) -> str:
    """The parts with slashes between, in characters that every tracker takes: "tpr_at_1%_fpr" is "tpr_at_1pct_fpr"."""
    return "/".join(_FORBIDDEN.sub("_", part.replace("%", _PERCENT))[:_MAX_PART] for part in parts)


def epoch_of(row: Mapping[str, float], index: int) -> int:
    """The epoch of a row of a curve, from 1; by its place where it names none."""
    return int(row.get("epoch", index + 1))


def flat_settings(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings as one level: {"training.epochs": 5, "releases.0.sparsity": 0.9}; empty lists are left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list | tuple):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat
