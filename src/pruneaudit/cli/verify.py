"""`pruneaudit verify`: checks that no file of a run folder has changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import DataRootOption
from pruneaudit.core.errors import printable

SHOWN = 5
"""Number of missing or stale parts to name; all damaged ones are named."""


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/demo.")],
    data_root: DataRootOption = None,
) -> None:
    """Check that no file of a run has changed.

    Lists damaged and missing files, and files outside the study (stale). Changes nothing.
    """
    from pruneaudit.api import verify

    checked = verify(run, data_root)
    for state in ("damaged", "missing", "stale"):
        parts = [part for part in checked if part.state == state]
        shown = parts if state == "damaged" else parts[:SHOWN]
        for part in shown:
            print(printable(f"{state}: {part.place}" + (f": {part.reason}" if part.reason else "")))
        if len(parts) > len(shown):
            print(f"{state}: and {len(parts) - len(shown)} more")
    counts = Counter(part.state for part in checked)
    print(", ".join(f"{counts[state]} {state}" for state in ("whole", "damaged", "missing", "stale")))
    if counts["damaged"] or counts["missing"]:
        raise typer.Exit(1)
