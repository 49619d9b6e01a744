"""`pruneaudit check`: a gate for continuous integration."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.report import write_text
from pruneaudit.core.errors import UserError, printable

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The environment variable in which GitHub Actions names the file that it shows with a job."""


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/demo.")],
    max_tpr: Annotated[
        list[str] | None,
        typer.Option("--max-tpr", metavar="FPR:BUDGET", help="Highest TPR at an FPR, such as 1%:0.05. Repeatable."),
    ] = None,
    max_auc: Annotated[str | None, typer.Option("--max-auc", metavar="AUC", help="Highest AUC, such as 0.6.")] = None,
    max_advantage: Annotated[
        str | None,
        typer.Option("--max-advantage", metavar="RATE", help="Highest TPR - FPR at the learned threshold."),
    ] = None,
    attack: Annotated[
        str | None, typer.Option("--attack", help="The attack that decides; default: every attack of the run.")
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option("--release", help="A release; default: dense and all pruned or defended ones. Repeatable."),
    ] = None,
    knowledge: Annotated[
        str, typer.Option("--knowledge", help="What the references went through; default: every kind of the run.")
    ] = "any",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.md", help="Write the summary there too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the summary.")] = False,
) -> None:
    """Compare a run with budgets, as a gate for CI.

    Exit code 0: within all; 1: not shown to be within one; 2: bad input, or a refused figure.
    """
    from pruneaudit.gate import as_markdown, as_record, budgets_of, check
    from pruneaudit.runs import RunFolder

    if out is not None and out.suffix != ".md":
        raise UserError(f"--out: got '{out}', expected a file name that ends in .md (the summary is Markdown)")
    results = RunFolder(run).results()
    gate = check(results, budgets_of(results, max_tpr or (), max_auc, max_advantage), attack, release or (), knowledge)
    summary = as_markdown(gate, str(run))
    if out is not None:
        write_text(out, summary)
    print(json.dumps(as_record(gate, str(run)), indent=1, allow_nan=False) if as_json else summary.rstrip("\n"))
    _add_to_step_summary(summary)
    raise typer.Exit(gate.exit_code)


def _add_to_step_summary(summary: str) -> None:
    """Appends to the job's page; a verdict is not lost because that page cannot be written."""
    place = os.environ.get(STEP_SUMMARY)
    if not place:
        return
    try:
        with Path(place).open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{summary}\n")
    except OSError as error:
        what = f"warning: {STEP_SUMMARY}: cannot write to {place} ({error.strerror or error})"
        print(printable(what), file=sys.stderr)
