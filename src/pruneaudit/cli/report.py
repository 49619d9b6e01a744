"""`pruneaudit report`: table and page of a finished run, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import print_findings


def command(run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/demo.")]) -> None:
    """Write the report of a run again, from its findings."""
    from pruneaudit.report.html import write_report
    from pruneaudit.results import Results

    results = Results.load(run)
    print_findings(results, write_report(results, run / "report.html"))
