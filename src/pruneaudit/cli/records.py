"""`pruneaudit records`: names the records that a model exposes, and bounds the share of false names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.arguments import BaselineOption, OtherModelsOption, RunOrFilesArgument, rates, run_or_files
from pruneaudit.cli.common import DataRootOption, QuietOption, StepLine, command_line
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from pruneaudit.api import Records
    from pruneaudit.report.tables.records import RecordLine, RecordTables


def command(
    source: RunOrFilesArgument,
    fdr: Annotated[
        str,
        typer.Option("--fdr", metavar="RATE", help="False discovery rate of each list."),
    ] = "0.1",
    releases: Annotated[
        list[str] | None,
        typer.Option("--release", metavar="NAME", help="Judge this release; default: all. Repeatable."),
    ] = None,
    victims: Annotated[
        list[str] | None,
        typer.Option("--victim", metavar="ID", help="Judge the records of this model; default: all. Repeatable."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", help="rmia, lira or loss; default: rmia, or loss if there are no references."),
    ] = None,
    references: OtherModelsOption = None,
    baseline: BaselineOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With files: the folder of their audit, to write records.csv there.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="With files: seed of the random draws; default: 0.")
    ] = None,
    show_records: Annotated[
        bool, typer.Option("--show-records", help="Also list the named records in the report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON instead of a table.")] = False,
    quiet: QuietOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Name the records that a model exposes, with few false names.

    Trains no network. Writes records.csv, which only you can read, and adds counts to the report. Predictions need 500
    holdout rows: rows that are in no training set and eligible for no model.
    """
    from pruneaudit.api import RecordLists, records
    from pruneaudit.core.machine import Here

    asked = RecordLists(_one_rate(fdr), tuple(releases or ()), tuple(victims or ()), score, seed)
    given = run_or_files(source, references, baseline)
    with StepLine(quiet) as line:
        machine = Here(data_folder=data_root, progress=line)
        found = records(given, asked, out, show_records, machine, command_line())
    _show(found, as_json)


def _one_rate(text: str) -> float:
    """Parses `0.1` or `10%`.

    Raises:
        UserError: the text is not one rate.
    """
    found = rates("--fdr", text)
    if len(found) != 1:
        raise UserError(f"--fdr: got '{text}', expected one rate, such as 0.1 or 10%")
    return found[0]


def _show(found: Records, as_json: bool) -> None:
    """Prints the counts as JSON, or as tables with what they say, and where the names are."""
    from rich.console import Console

    from pruneaudit.evaluation.results import json_records
    from pruneaudit.report.tables.records import record_tables
    from pruneaudit.runs.names import REPORT_FILE

    if as_json:
        print(json.dumps(json_records(found.table), indent=1, allow_nan=False))
        return
    console = Console()
    tables = record_tables(found.table, is_brief=True)
    assert tables is not None  # every release has a row
    _print(tables, console)
    if found.file is not None:
        told = f"\nrecords (only you can read them): {found.file}\nreport: {found.file.with_name(REPORT_FILE)}"
        console.print(printable(told, "\n"), soft_wrap=True, highlight=False, markup=False)
    else:
        told = "only counts were made; for names (records.csv) add --out with the folder of the audit of these files"
        console.print(told, soft_wrap=True, highlight=False, markup=False)


def _print(tables: RecordTables, console: Console) -> None:
    """Prints a table for each question, the reasons, and the sentences."""
    from pruneaudit.report.escaping import terminal_text

    _print_table(
        "Exposed by this model: mean over networks [lowest, highest]", tables.model_columns, tables.of_models, console
    )
    if tables.of_recipes:
        console.print()
        _print_table(
            "Exposed by this recipe: a test over networks",
            tables.recipe_columns,
            tables.of_recipes,
            console,
        )
    for number, reason in enumerate(tables.notes, start=1):
        console.print(terminal_text(f"({number}) {reason}"), style="dim", highlight=False)
    console.print()
    for sentence in tables.said:
        console.print(terminal_text(sentence), highlight=False)


def _print_table(title: str, columns: tuple[str, ...], lines: tuple[RecordLine, ...], console: Console) -> None:
    from rich import box
    from rich.table import Table

    from pruneaudit.report.escaping import terminal_text

    printed = Table(
        title=terminal_text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    printed.add_column("Release", overflow="fold")
    for column in columns:
        printed.add_column(column, justify="right", overflow="fold")
    for line in lines:
        cells = [f"{cell.value} {cell.interval}".strip() if cell.value else f"- ({cell.note})" for cell in line.cells]
        printed.add_row(terminal_text(line.release), *map(terminal_text, cells))
    console.print(printed)
