"""Experiment trackers: send a run's curves, findings and report to a team's tracking system."""

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
    """Makes a tracker for `pruneaudit.Runtime(trackers=[...])`; it starts with the run.

    Args:
        name: `wandb`, `mlflow` or `tensorboard`.
        options: the tracker's options, such as project="pruning" for wandb.

    Raises:
        UserError: the tracker or an option is unknown, or its library is not installed.
    """
    made = TRACKERS.get(name)
    missing = [module for module in made.modules if not _is_installed(module)]
    if missing:
        raise UserError(f"tracker {name}: {missing[0]} is not installed; pip install 'pruneaudit[{name}]'")
    return made(validated(made.Options, options, f"tracker {name}"))


def _is_installed(module: str) -> bool:
    """Returns whether a library is installed; ignores folders of its name, which trackers create."""
    found = find_spec(module)
    return found is not None and found.origin is not None
