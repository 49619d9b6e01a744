"""Experiment trackers: a run's curves, findings and report, sent to where a team keeps its experiments."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.core.registry import Registry
from pruneaudit.tracking.tracker import Tracker

__all__ = ["TRACKERS", "Tracker", "tracker"]

TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker", "pruneaudit.tracking", "TRACKER", infrastructure={"tracker", "trackers"}
)


def tracker(name: str, **options: Any) -> Tracker:
    """A tracker for `pruneaudit.Runtime(trackers=[...])`; nothing of it begins before the run does.

    Args:
        name: `wandb`, `mlflow` or `tensorboard`.
        options: as its `Options` says, such as project="pruning" for wandb.

    Raises:
        UserError: there is no such tracker or option, or the library that it needs is not installed.
    """
    made = TRACKERS.get(name)
    missing = [module for module in made.modules if not _is_installed(module)]
    if missing:
        raise UserError(f"tracker {name}: {missing[0]} is not installed; pip install 'pruneaudit[{name}]'")
    return made(validated(made.Options, options, f"tracker {name}"))


def _is_installed(module: str) -> bool:
    """Whether a library is there; a folder of its name, which trackers leave behind, is no library."""
    found = find_spec(module)
    return found is not None and found.origin is not None
