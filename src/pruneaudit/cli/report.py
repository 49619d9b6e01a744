"""`pruneaudit report`: table and page of a finished run, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import print_findings


def command(run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/demo.")]) -> None:
    """Write the report of a run again, from its findings."""
    from pruneaudit.api import REPORT_FILE, report_again

    print_findings(report_again(run), run / REPORT_FILE)
