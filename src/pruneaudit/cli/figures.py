"""`pruneaudit figures`: draws the figures of a finished run for a paper, and writes its tables as LaTeX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import ForceOption
from pruneaudit.core.errors import printable


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/demo.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    format: Annotated[str, typer.Option("--format", help="pdf, png or svg; several comma-separated.")] = "pdf",
    latex: Annotated[bool, typer.Option("--latex", help="Also write the tables as LaTeX (package booktabs).")] = False,
    force: ForceOption = False,
) -> None:
    """Draw the figures of a finished run for a paper.

    Needs the extra 'figures'.
    """
    from pruneaudit.core.files import check_new_folder
    from pruneaudit.report.paper import figures

    check_new_folder(out, force)
    written = figures(run, out, format, latex)
    for reason in written.left_out:
        print(printable(f"left out: {reason}"), file=sys.stderr)
    for file in written.files:
        print(printable(f"written: {file}"))
