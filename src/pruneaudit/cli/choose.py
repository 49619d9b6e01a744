"""`pruneaudit choose`: searches the best network within limits on half of the models, and confirms it on the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    DryRunOption,
    ExecutorOption,
    GpusPerTaskOption,
    JobsOption,
    OutOption,
    QuietOption,
    RayAddressOption,
    SetOption,
    VerboseOption,
    WaitOption,
    command_line,
    progress_for,
    ray_cluster_from,
)
from pruneaudit.core.errors import printable

LIMITS = "Limits"
EXIT_NONE = 1
"""Nothing was certified."""


def command(
    study: Annotated[str, typer.Argument(help="A study file with a section [choose], or the name of a recipe.")],
    min_accuracy: Annotated[
        str | None,
        typer.Option("--min-accuracy", metavar="RATE", help="Lowest accuracy, such as 0.75.", rich_help_panel=LIMITS),
    ] = None,
    max_tpr: Annotated[
        list[str] | None,
        typer.Option(
            "--max-tpr",
            metavar="FPR:LIMIT",
            help="Highest TPR at an FPR, such as 1%:0.05. Repeatable.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_auc: Annotated[
        str | None, typer.Option("--max-auc", metavar="AUC", help="Highest AUC, such as 0.6.", rich_help_panel=LIMITS)
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-bytes", metavar="SIZE", help="Largest compressed size, such as 20k.", rich_help_panel=LIMITS
        ),
    ] = None,
    max_macs: Annotated[
        str | None,
        typer.Option(
            "--max-macs",
            metavar="NUMBER",
            help="Most multiply-accumulate operations (MACs) for one input.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    minimize: Annotated[
        str,
        typer.Option("--minimize", help="What to minimise: bytes, macs or leakage.", rich_help_panel=LIMITS),
    ] = "bytes",
    alpha: Annotated[
        float,
        typer.Option("--alpha", help="Highest probability that the certificate is wrong.", rich_help_panel=LIMITS),
    ] = 0.05,
    budget: Annotated[
        int | None,
        typer.Option("--budget", help="Candidates to try; default: as the study says.", rich_help_panel=LIMITS),
    ] = None,
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    ray_address: RayAddressOption = None,
    gpus_per_task: GpusPerTaskOption = None,
    data_root: DataRootOption = None,
    wait: WaitOption = False,
    out: OutOption = Path("runs"),
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Choose the best network within limits, with a certificate.

    Searches on one half of the models, confirms on the other. Exit code 0: a network was certified; 1: none was.
    """
    from pruneaudit.api import PageSettings, Runtime, choose
    from pruneaudit.choosing.wording import choice_lines
    from pruneaudit.evaluation.limits import parse_limits
    from pruneaudit.study.recipes import load_recipe_or_file

    limits = parse_limits(
        max_tpr or (),
        max_bytes,
        min_accuracy=min_accuracy,
        max_auc=max_auc,
        max_macs=max_macs,
        minimize=minimize,
        alpha=alpha,
    )
    loaded = load_recipe_or_file(study, [*(set_ or []), *([] if budget is None else [f"choose.budget={budget}"])])
    where: dict[str, Any] = {"executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
    cluster = ray_cluster_from(ray_address, gpus_per_task)
    if dry_run:
        from pruneaudit.api.choice import foretold
        from pruneaudit.choosing.foretelling import stage_lines

        runtime = Runtime(**where, ray_cluster=cluster)
        for line in stage_lines(foretold(loaded, limits, out, runtime), runtime.num_jobs or 1):
            print(printable(line))
        return
    with progress_for(quiet, verbose) as progress:
        runtime = Runtime(**where, ray_cluster=cluster, progress=progress)
        choice = choose(loaded, limits, out, runtime, PageSettings(command_line()))
    for line in choice_lines(choice.certificate, choice.path):
        print(printable(line))
    print(printable(f"\ncertificate: {choice.certificate_file}\nreport: {choice.report}", "\n"))
    if choice.chosen is None:
        raise typer.Exit(EXIT_NONE)
