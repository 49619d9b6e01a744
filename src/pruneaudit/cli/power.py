"""`pruneaudit power`: what attacks would find with fewer references, and LiRA with more."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.arguments import BaselineOption, OtherModelsOption, RunOrFilesArgument, names, rates, run_or_files
from pruneaudit.cli.common import DataRootOption, QuietOption, StepLine, command_line
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from pruneaudit.api import Power


def command(
    source: RunOrFilesArgument,
    attacks: Annotated[
        str | None,
        typer.Option("--attacks", help="Comma-separated names of attacks that use references; default: lira,rmia."),
    ] = None,
    references: OtherModelsOption = None,
    baseline: BaselineOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With files: the folder of their audit, to add the curves to it.")
    ] = None,
    subsets: Annotated[
        int | None,
        typer.Option(
            "--subsets",
            help="Random subsets of references, per number of references and victim; default: "
            "100 over all victims, at least 5 for each.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="64,128",
            help="Extrapolate LiRA's AUC to these numbers of references; default: powers of two, up to 8 times the "
            "references that there are.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="With files: seed of the subsets and the bootstrap; default: 0.")
    ] = None,
    fpr_levels: Annotated[
        str | None,
        typer.Option("--fpr-levels", metavar="0.1,1%", help="With files: false-positive rates, as for audit."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead of a table.")] = False,
    quiet: QuietOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Show what attacks find with fewer references.

    Trains no network. Adds power.csv and a section to the report of a run. For predictions: pruneaudit power
    signals.npz --out audit
    """
    from pruneaudit.api import Curves, power
    from pruneaudit.core.machine import Here

    levels = None if fpr_levels is None else rates("--fpr-levels", fpr_levels)
    curves = Curves(subsets, _counts(at), seed, levels)
    given = run_or_files(source, references, baseline)
    with StepLine(quiet) as line:
        machine = Here(data_folder=data_root, progress=line)
        found = power(given, names(attacks), out, curves, machine, command_line())
    for note in found.notes:
        print(printable(f"warning: {note}"), file=sys.stderr)
    _show(found, given if isinstance(given, Path) else out, as_json)


def _counts(text: str | None) -> tuple[int, ...] | None:
    """Parses `64,128`.

    Raises:
        UserError: a part is no number.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--at: got '{text}', expected comma-separated numbers of references, such as 64,128")
    return tuple(map(int, parts))


def _show(found: Power, folder: Path | None, as_json: bool) -> None:
    """Prints the rows as JSON, or the curves as tables and what they say."""
    from rich.console import Console

    from pruneaudit.evaluation.results import json_records
    from pruneaudit.runs.names import REPORT_FILE

    if as_json:
        print(json.dumps(json_records(found.table), indent=1, allow_nan=False))
        return
    console = Console()
    _print(found.table, console)
    if folder is not None:
        console.print(f"\nreport: {printable(str(folder / REPORT_FILE))}", soft_wrap=True, highlight=False)


def _print(table: pd.DataFrame, console: Console) -> None:
    """Prints a line per release, attack and number of references, the reasons, and where attacks stand on the first."""
    from rich import box
    from rich.table import Table

    from pruneaudit.report.conclusions.power import standings_in, understated
    from pruneaudit.report.escaping import terminal_text
    from pruneaudit.report.sentences.power import standing_words
    from pruneaudit.report.tables.power import power_table
    from pruneaudit.report.words import listed
    from pruneaudit.study import DENSE

    found = power_table(table)
    assert found is not None  # every attack has a row
    title = terminal_text("Mean over victims [95% interval]; n: references of each network")
    printed = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("Release / attack", overflow="fold")
    for column in ("n", "Scored", "AUC", *([found.rate.title] if found.rate else [])):
        printed.add_column(column, justify="right", overflow="fold")
    named: tuple[str, str] | None = None
    for line in found.lines:
        if named is None or named[0] != line.release:
            printed.add_row(terminal_text(line.release, "bold"))
        attack = terminal_text(f"  {line.attack}" if named != (line.release, line.attack) else "")
        named = (line.release, line.attack)
        shown = [line.cells[0], *line.cells[3:]]
        cells = [terminal_text(f"{cell.value} {cell.interval}" if cell.value else f"- ({cell.note})") for cell in shown]
        count = f"{line.num_references}{'*' if line.is_extrapolated else ''}"
        printed.add_row(attack, count, line.share_scored, *cells)
    console.print(printed)
    for number, reason in enumerate(found.notes, start=1):
        console.print(terminal_text(f"({number}) {reason}"), style="dim", highlight=False)
    console.print(terminal_text("*: extrapolated by 1/d'^2 = a + b/n"), style="dim", highlight=False)
    console.print()
    releases = list(dict.fromkeys(table["release"]))
    base = DENSE if DENSE in releases else releases[0]
    for sentence in standing_words(standings_in(table, base), base):
        console.print(terminal_text(sentence), highlight=False)
    others = [name for name in releases if name != base and understated(standings_in(table, name))]
    if others:
        console.print(terminal_text(f"LiRA's curve still rises on {listed(others)}, too."), highlight=False)
