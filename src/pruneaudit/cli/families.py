"""`pruneaudit families`: what an attacker with several releases finds, and what one more release adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.arguments import BaselineOption, OtherModelsOption, RunOrFilesArgument, names, rates, run_or_files
from pruneaudit.cli.arguments import families as parsed
from pruneaudit.cli.common import DataRootOption, QuietOption, StepLine, command_line
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from pruneaudit.api import Families
    from pruneaudit.evaluation.results import Results
    from pruneaudit.report.tables.cells import Cell
    from pruneaudit.report.tables.families import FamilyTables

_WIDTH_OF_NUMBERS = 76
"""Columns that the numbers of a line need, with some room for names."""
_WIDTH_OF_RATES = 100
"""The same with another number in a line."""


def command(
    source: RunOrFilesArgument,
    families: Annotated[
        list[str] | None,
        typer.Option(
            "--families",
            metavar="dense,int8,...",
            help="Releases that one attacker sees together. Repeatable; default: those of the study, or all.",
        ),
    ] = None,
    released: Annotated[
        str | None,
        typer.Option(
            "--released",
            metavar="dense,...",
            help="Releases that are public already; a table shows what each further one would add. Default: dense, or "
            "the baseline.",
        ),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option("--attacks", help="Other attacks on all releases of a family, to compare with, such as pair_nn."),
    ] = None,
    references: OtherModelsOption = None,
    baseline: BaselineOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With files: the folder of their audit, to add the tables to it.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="With files: seed of the folds and the bootstrap; default: 0.")
    ] = None,
    fpr_levels: Annotated[
        str | None,
        typer.Option("--fpr-levels", metavar="0.1,1%", help="With files: false-positive rates, as for audit."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows of both tables as JSON.")] = False,
    quiet: QuietOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Show what several releases reveal together.

    Trains no network. Adds two tables and a section to the report of a run; one table shows what each further release
    would add. Example: pruneaudit families runs/demo --released dense
    """
    from pruneaudit.api import FamilySettings
    from pruneaudit.api import families as measured
    from pruneaudit.core.machine import Here

    given = run_or_files(source, references, baseline)
    levels = None if fpr_levels is None else rates("--fpr-levels", fpr_levels)
    settings = FamilySettings(names(attacks), seed, levels)
    asked = parsed(families)
    with StepLine(quiet) as line:
        machine = Here(data_folder=data_root, progress=line)
        found = measured(given, asked, names(released), out, settings, machine, command_line())
    _show(found, given if isinstance(given, Path) else out, as_json)


def _show(found: Families, folder: Path | None, as_json: bool) -> None:
    """Prints the rows as JSON, or tables and what they say."""
    from rich.console import Console

    from pruneaudit.evaluation.results import json_records
    from pruneaudit.runs.names import REPORT_FILE

    if as_json:
        tables = {"families": found.families, "marginal_leakage": found.marginal_leakage}
        print(json.dumps({name: json_records(table) for name, table in tables.items()}, indent=1, allow_nan=False))
        return
    console = Console()
    _print(_results(found), console)
    if folder is not None:
        console.print(f"\nreport: {printable(str(folder / REPORT_FILE))}", soft_wrap=True, highlight=False)


def _results(found: Families) -> Results:
    """The results with the tables; without an audit of the files, results that have these tables alone."""
    import pandas as pd

    from pruneaudit.evaluation.columns import TABLES
    from pruneaudit.evaluation.results import Results
    from pruneaudit.report.conclusions.families import FAMILIES

    if found.results is not None:
        return found.results
    findings, comparisons, releases, curves = (
        pd.DataFrame(columns=list(TABLES[name])) for name in ("findings", "comparisons", "releases", "curves")
    )
    about = {FAMILIES: {"released": list(found.released)}}
    tables = {"families": found.families, "marginal_leakage": found.marginal_leakage}
    return Results(findings, comparisons, releases, curves, about, **tables)


def _print(results: Results, console: Console) -> None:
    """Prints the sets of each family, what one more release costs, the reasons, and the sentences."""
    from pruneaudit.report.escaping import terminal_text
    from pruneaudit.report.tables.families import family_tables

    for number, family in enumerate(family_tables(results)):
        if number:
            console.print()
        console.print(terminal_text(f"Family: {family.title}", "bold"), highlight=False)
        _print_sets(family, console)
        _print_marginals(family, console)
        for count, reason in enumerate(family.notes, start=1):
            console.print(terminal_text(f"({count}) {reason}"), style="dim", highlight=False)
        for sentence in family.said:
            console.print(terminal_text(sentence), highlight=False)


def _print_sets(family: FamilyTables, console: Console) -> None:
    """The sets in order, last other attacks on all releases: of a large family single releases and all of them.

    Only AUC where there is no room for names beside more.
    """
    from pruneaudit.evaluation.family_sets import LATTICE_UP_TO
    from pruneaudit.report.tables.families import THE_JOINT_ATTACK

    area, *rates = (one.title for one in family.quantities)
    shown = rates if console.width >= _WIDTH_OF_RATES else []
    rows = []
    most = max(line.num_releases for line in family.sets)
    lines = [line for line in family.sets if most <= LATTICE_UP_TO or line.num_releases in (1, most)]
    for line in lines:
        is_rival = line.against == THE_JOINT_ATTACK
        value, change, *others = line.cells
        name = f"{line.attack} on all, minus {THE_JOINT_ATTACK}" if is_rival else line.releases
        rows.append((name, (value, change, *others[: 2 * len(shown) : 2])))
    _print_table(("Releases seen", area, "Minus best alone", *shown), rows, console)
    _print_hidden(len(family.sets) - len(lines), "sets", console)


def _print_marginals(family: FamilyTables, console: Console) -> None:
    """What one more release costs now, then the order of the largest additions."""
    heads = [f"Change of {one.title}" for one in family.quantities]
    now = [(_labelled(line.added, line.label), line.cells) for line in family.marginals if line.is_now]
    steps = sorted((line for line in family.marginals if line.step), key=lambda line: int(line.step))
    order = [(_labelled(f"{line.step}. {line.added}", line.label), line.cells) for line in steps]
    for title, rows in ((f"One more, with {family.released} public", now), ("Largest addition first", order)):
        if rows:
            _print_table((title, *heads), rows, console)
    _print_hidden(sum(not line.is_now and not line.step for line in family.marginals), "pairs of sets", console)


def _print_hidden(number: int, what: str, console: Console) -> None:
    if number:
        console.print(f"and {number} more {what} with --json", style="dim", highlight=False, end="\n\n")


def _labelled(name: str, label: str) -> str:
    return f"{name} ({label})" if label else name


def _print_table(heads: Sequence[str], rows: Sequence[tuple[str, tuple[Cell, ...]]], console: Console) -> None:
    from rich import box
    from rich.table import Table

    from pruneaudit.report.escaping import terminal_text

    printed = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column(terminal_text(heads[0]), overflow="fold")
    for head in heads[1:]:
        printed.add_column(head, justify="right", overflow="fold", no_wrap=console.width >= _WIDTH_OF_NUMBERS)
    for name, cells in rows:
        figures = [f"{cell.value} {cell.interval}".rstrip() if cell.value else f"- ({cell.note})" for cell in cells]
        printed.add_row(terminal_text(name), *map(terminal_text, figures))
    console.print(printed, end="\n\n")
