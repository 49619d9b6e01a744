"""`pruneaudit claims`: judges published claims on finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import DataRootOption, QuietOption, StepLine
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from pruneaudit.api import Claims


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of finished runs, one per data set.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write claims.csv and claims.md there.")
    ] = None,
    quiet: QuietOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Judge published claims on finished runs; trains no network.

    Runs of any study can be judged: releases are chosen by what they are. The recipes
    claims-fashion and claims-location have all that is needed.
    """
    from rich.console import Console

    from pruneaudit.api import judge_claims
    from pruneaudit.core.machine import Here

    with StepLine(quiet) as line:
        found = judge_claims(runs, out, Here(data_folder=data_root, progress=line))
    console = Console()
    _print(found, console)
    if found.folder is not None:
        for name in ("claims.csv", "claims.md"):
            console.print(printable(str(found.folder / name)), soft_wrap=True, highlight=False, markup=False)


def _print(found: Claims, console: Console) -> None:
    """Prints a table of verdicts by run, then attacks that disagree, what was compared, and the level of intervals."""
    from rich import box
    from rich.table import Table

    from pruneaudit.claims.markdown import SECOND_HEAD, about, disagreements, judged_on
    from pruneaudit.claims.verdicts import runs_in
    from pruneaudit.report.escaping import terminal_text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in ("Claim", *runs_in(found.table), "Overall", SECOND_HEAD):
        table.add_column(terminal_text(head), overflow="fold")
    for line in found.lines:
        cells = [
            " ".join(part for part in (each.verdict, each.interval or each.note) if part) for each in line.deciding
        ]
        row = (f"{line.claim.name}. {line.claim.says}", *cells, line.overall, line.second_overall)
        table.add_row(*map(terminal_text, row))
    console.print(table, end="\n\n")
    others = disagreements(found.table, [line.claim.name for line in found.lines])
    for text in (*others.splitlines(), *judged_on(found.table), about(found.table)):
        console.print(terminal_text(text.replace("**", "").replace("`", "")), highlight=False)
