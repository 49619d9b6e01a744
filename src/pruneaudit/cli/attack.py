"""`pruneaudit attack`: runs other attacks on the stored signals of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.arguments import names
from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    ForceOption,
    JobsOption,
    OutputsOption,
    QuietOption,
    check_results_folder,
    command_line,
    print_findings,
    print_warnings,
    progress_for,
)


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/demo.")],
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks",
            help="Comma-separated names: lira,rmia,lira:mode=offline; groups: scores, all, advanced, wemem.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for findings and report; default: the run's folder."),
    ] = None,
    outputs: OutputsOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run other attacks on a finished run; trains no network.

    The attacks read the signals that the run stored.
    """
    from pruneaudit.api import Runtime, attack

    if out is not None and out.resolve() != run.resolve():
        check_results_folder(out, force)
    with progress_for(quiet, verbose=False) as progress:
        runtime = Runtime(jobs=jobs, device=device, data_root=data_root, progress=progress)
        finished = attack(
            run, attacks.split(","), out, runtime, command_line(), None if outputs is None else names(outputs)
        )
    print_warnings(finished.audit.results)
    print_findings(finished.audit.results, finished.report)
