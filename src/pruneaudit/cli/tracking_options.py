"""Parses `--track wandb:project=pruning`: the experiment trackers to use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import TRACKING
from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.tracking import Tracker

TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help="wandb, mlflow or tensorboard, with options as in wandb:project=pruning:tags=a,b. Repeatable.",
        rich_help_panel=TRACKING,
    ),
]
_OPTION = re.compile(r":(?=[a-z_]+=)")
"""Start of an option; the colons of an address such as http://host:5000 start none."""


def trackers_from(asked: Sequence[str] | None) -> list[Tracker]:
    """Returns the trackers that a command line asks for; checks that their libraries exist, without importing them.

    Args:
        asked: one text per tracker, `name:key=value:key=value`; tags are comma-separated.

    Raises:
        UserError: a tracker or option is unknown, a library is not installed, or a tracker is asked for twice.
    """
    made: dict[str, Tracker] = {}
    for text in asked or ():
        from pruneaudit.tracking import tracker

        name, *options = _OPTION.split(text.strip())
        given = dict(option.split("=", 1) for option in options)
        values = {key: _tags(value) if key == "tags" else value for key, value in given.items()}
        if name in made:
            raise UserError(f"--track: got {name} twice, expected each tracker once")
        made[name] = tracker(name, **values)
    return list(made.values())


def _tags(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",") if tag.strip()]
