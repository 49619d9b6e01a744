"""`pruneaudit compleak replay`: replays CompLeak's queries on a finished run, next to equal queries."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import DeviceOption, QuietOption, StepLine
from pruneaudit.cli.panels import PanelCommand, PanelGroup
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    name="compleak",
    cls=PanelGroup,
    help="Commands for CompLeak: replay.\n\nLi et al., USENIX Security 2026. Its studies are the recipes compleak/....",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Makes this a group of commands, although there is one."""


@app.command("replay", cls=PanelCommand)
def replay(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/compleak-fashion.")],
    releases: Annotated[str, typer.Option("--releases", help="Comma-separated names; default: all.")] = "",
    attacks: Annotated[
        str, typer.Option("--attacks", help="Comma-separated attacks on posteriors.")
    ] = "posterior_rf,pair_rf",
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the table to this file.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Attacks at a time; default: one per core.")] = None,
    device: DeviceOption = "cpu",
    quiet: QuietOption = False,
) -> None:
    """Replay CompLeak's queries on a finished run; not an audit.

    CompLeak's code crops and flips members before it queries them, but not non-members. The replay shows what its
    attacks find with these queries and with equal queries: on real members, and on samples that no network was trained
    on. It leaves the run unchanged.
    """
    from pruneaudit.published import compleak_protocol

    print(f"warning: {compleak_protocol.NO_AUDIT}", file=sys.stderr)
    with StepLine(quiet or not sys.stderr.isatty()) as line:
        found = compleak_protocol.replay(
            run,
            [name for name in releases.split(",") if name],
            attacks.split(","),
            device,
            os.cpu_count() or 1 if jobs is None else jobs,
            line.say,
        )
    _print(found)
    if csv is not None:
        found.to_csv(csv, index=False)
        print(printable(f"written: {csv}"))


def _print(found: pd.DataFrame) -> None:
    """Prints a line per release, attack and kind of samples, with a column per kind of queries."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pruneaudit.published.compleak_protocol import AS_RELEASED, QUERIES

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("Samples", "Release", "Attack", "Epoch"):
        table.add_column(header, overflow="fold")
    for queries in QUERIES:
        table.add_column(f"{queries} (no audit)" if queries == AS_RELEASED else queries, justify="right")
    for key, rows in found.groupby(["samples", "release", "attack", "epoch"], sort=False):
        by_queries = rows.set_index("queries")
        values = [by_queries.loc[queries, ["auc", "auc_low", "auc_high"]] for queries in QUERIES]
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*each) for each in values]
        table.add_row(*(Text(str(cell)) for cell in (*key, *cells)))
    print("AUC [95% interval]. Cropped are only members (as released: no audit), none (plain), all (cropped)")
    Console().print(table, highlight=False)
