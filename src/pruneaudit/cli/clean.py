"""`pruneaudit clean`: removes files from a run folder that its study no longer needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.core.errors import printable

SHOWN = 20
"""Number of parts to name; `--verbose` names all."""


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/demo.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name every part.")] = False,
) -> None:
    """Remove files of a run that its study no longer needs.

    These are artifacts of other settings, and quarantined files.
    """
    from pruneaudit.api import clean_run

    found = clean_run(run, dry_run)
    shown = found if verbose else found[:SHOWN]
    for leftover in shown:
        print(printable(f"{leftover.path.relative_to(run)}: {_size(leftover.num_bytes)}: {leftover.reason}"))
    if len(found) > len(shown):
        print(f"and {len(found) - len(shown)} more (--verbose names them)")
    total = sum(leftover.num_bytes for leftover in found)
    print(f"{len(found)} parts, {_size(total)} {'would be removed' if dry_run else 'removed'}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
