"""`pruneaudit report`: writes the table and page of a finished run again, sums it up, or compares two runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import ShowRecordsOption, print_findings
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    from pruneaudit.evaluation.results import Results


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/demo.")],
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="RUN2", help="Show the differences between two runs: RUN minus RUN2."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --compare: also write the table to this .md or .csv file.")
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            metavar="FILE",
            help="Only write a summary of one page, to be signed: .md or .pdf (.pdf needs the extra 'pdf').",
        ),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Only print a block of Markdown for a model card.")] = False,
    show_records: ShowRecordsOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings.json instead of a table.")] = False,
) -> None:
    """Write a run's report again, sum it up, or compare two runs.

    Reads the stored findings. Summaries and comparisons leave the runs unchanged.
    """
    _check_one_job(compare=compare is not None, summary=summary is not None, card=card)
    if out is not None and compare is None:
        raise UserError(f"--out: got '{out}' without --compare, but it is for that table; give both, or neither")
    if (summary is not None or card) and (as_json or show_records):
        given = "--json" if as_json else "--show-records"
        raise UserError(
            f"{given}: got it with {'--card' if card else '--summary'}, where it does nothing; leave it out"
        )
    if summary is not None:
        from pruneaudit.report.summary import summary as write_summary

        print(printable(f"written: {write_summary(run, summary)}"))
        return
    if card:
        from pruneaudit.report.summary import model_card

        print(model_card(run), end="")
        return
    if compare is not None:
        _compare(run, compare, out, as_json)
        return
    from pruneaudit.api import report_again
    from pruneaudit.runs.names import REPORT_FILE

    show(report_again(run, show_records or None), run, run / REPORT_FILE, as_json)


def _check_one_job(**asked: bool) -> None:
    """Refuses options that each ask for something else.

    Raises:
        UserError: several were given.
    """
    given = [f"--{name}" for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise UserError(f"{given[1]}: got {given[0]} too, but each is a job of its own; give one of them")


def show(results: Results, folder: Path, page: Path, as_json: bool) -> None:
    """Prints a folder's findings.json unchanged, or the table and the path of the report."""
    if as_json:
        print((folder / "findings.json").read_text(encoding="utf-8"), end="")
    else:
        print_findings(results, page)


def _compare(run: Path, other: Path, out: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from pruneaudit.report.two_runs.differences import compare_runs
    from pruneaudit.report.two_runs.layouts import (
        comparison_csv,
        comparison_markdown,
        comparison_record,
        print_comparison,
    )

    writers = {".md": comparison_markdown, ".csv": comparison_csv}
    if out is not None and out.suffix not in writers:
        raise UserError(f"--out: got '{out}', expected a file name that ends in .md or .csv")
    found = compare_runs(run, other, _say)
    if out is not None:
        write_text(out, writers[out.suffix](found))
    if as_json:
        print(json.dumps(comparison_record(found), indent=1, allow_nan=False))
    else:
        print_comparison(found, Console())


def _say(message: str) -> None:
    """Prints progress on a terminal, and nothing when piped."""
    if sys.stderr.isatty():
        print(printable(message), file=sys.stderr, flush=True)


def write_text(path: Path, text: str) -> None:
    """Writes a user's file, completely or not at all; creates missing folders."""
    from pruneaudit.core.files import write_atomically, writing_error

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise writing_error(path, error) from None
