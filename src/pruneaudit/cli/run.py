"""`pruneaudit run`: runs a study, from its file or a packaged recipe, and writes its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    ShowRecordsOption,
    VerboseOption,
    WaitOption,
    command_line,
    print_findings,
    progress_for,
    ray_cluster_from,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.offers import print_offers, timed_offers
from pruneaudit.cli.tracking_options import TrackOption, trackers_from
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from pruneaudit.study import Study


def command(
    study: Annotated[str, typer.Argument(help="A study file (.toml, .json), or the name of a recipe.")],
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    ray_address: RayAddressOption = None,
    gpus_per_task: GpusPerTaskOption = None,
    data_root: DataRootOption = None,
    wait: WaitOption = False,
    track: TrackOption = None,
    out: OutOption = Path("runs"),
    show_records: ShowRecordsOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train, compress and attack a bank of models, and report.

    Ends with a table and a report. Finished parts on disk are reused.
    """
    from pruneaudit.study.recipes import load_recipe_or_file

    loaded = load_recipe_or_file(study, set_ or [])
    trackers = trackers_from(track)
    if dry_run:
        describe(loaded, out / loaded.name, data_root, device, jobs)
        if loaded.target:
            print_offers(
                timed_offers(loaded, out / loaded.name, data_root, device, jobs, None), not loaded.training.function
            )
        return
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
    where |= {"show_records": show_records or None, "trackers": trackers}
    where |= {"ray_cluster": ray_cluster_from(ray_address, gpus_per_task)}
    execute(loaded, where, quiet, verbose)


def execute(study: Study, where: dict[str, Any], quiet: bool, verbose: bool, demonstration: bool = False) -> None:
    """Runs a study with a progress display, and prints the findings.

    Args:
        study: the study to run.
        where: `out` and `show_records`, as for `pruneaudit.run`, and the settings of `Runtime`.
        quiet: show no progress.
        verbose: name every task.
        demonstration: mark the report as a demonstration.
    """
    from pruneaudit.api import PageSettings, Runtime, run

    page = PageSettings(command_line(), demonstration, where.get("show_records"))
    with progress_for(quiet, verbose) as progress:
        machine = {key: value for key, value in where.items() if key not in ("out", "show_records")}
        runtime = Runtime(**machine, progress=progress)
        finished = run(study, where["out"], runtime, page)
    print_findings(finished.audit.results, finished.report)
    if finished.failures:
        more = f", and {len(finished.failures) - 1} more" if len(finished.failures) > 1 else ""
        print(f"error: failed and left out: {printable(finished.failures[0])}{more} (see the report)", file=sys.stderr)
        raise typer.Exit(1)
