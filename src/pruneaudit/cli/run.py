"""`pruneaudit run`: a study from its file, or a packaged recipe, to its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    ExecutorOption,
    JobsOption,
    OutOption,
    QuietOption,
    VerboseOption,
    WaitOption,
    command_line,
    print_findings,
    progress_for,
)

if TYPE_CHECKING:
    from pruneaudit.study import Study


def command(
    study: Annotated[str, typer.Argument(help="A study file (.toml, .json), or the name of a recipe.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as training.epochs=5. Repeatable."),
    ] = None,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    wait: WaitOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a bank, prune it, attack it, report. What is on disk already is not made again."""
    from pruneaudit.recipes import load_recipe_or_file

    chosen = load_recipe_or_file(study, set_ or [])
    if dry_run:
        _describe(chosen, out, data_root)
        return
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
    execute(chosen, where, quiet, verbose)


def execute(study: Study, where: dict[str, Any], quiet: bool, verbose: bool, demonstration: bool = False) -> None:
    """Runs a study under a progress display, and prints what it found.

    Args:
        study: what to do.
        where: `out`, `executor`, `jobs`, `device`, ... as `pruneaudit.run` takes them.
        quiet: show no progress.
        verbose: name every task.
        demonstration: the report says that it is one.
    """
    from pruneaudit.api import run

    with progress_for(quiet, verbose) as progress:
        finished = run(study, **where, progress=progress, command=command_line(), demonstration=demonstration)
    print_findings(finished.audit.results, finished.report)
    if finished.failures:
        more = f", and {len(finished.failures) - 1} more" if len(finished.failures) > 1 else ""
        print(f"error: failed and left out: {finished.failures[0]}{more} (see the report)", file=sys.stderr)
        raise typer.Exit(1)


def _describe(study: Study, out: Path, data_root: Path | None) -> None:
    """What a run would do."""
    from pruneaudit.api import prepare
    from pruneaudit.pipeline.driver import missing_tasks
    from pruneaudit.pipeline.estimate import disk_bytes
    from pruneaudit.pipeline.store import Store

    plan, population = prepare(study, data_root)
    missing = missing_tasks(plan, Store(out / study.name))
    print(f"study {study.name}: {study.membership.num_models} models, releases {', '.join(plan.releases)}")
    print(f"population: {len(population.y)} samples of {study.data.source.label}, {population.num_classes} classes")
    for action, what in (
        ("train", "dense trainings"),
        ("release", "prunings / fine-tunings / defended trainings"),
        ("signals", "queries"),
        ("sensitivity", "sensitivity queries"),
        ("sample_scores", "tables of memorisation scores"),
    ):
        total = sum(task.action == action for task in plan.tasks)
        if not total:
            continue
        todo = sum(task.action == action for task in missing)
        print(f"{what}: {todo} to do, {total - todo} to reuse")
    megabytes = disk_bytes(plan, population, missing) / 1e6
    print(f"disk: about {megabytes:,.1f} MB more in {out / study.name}")
    for note in study.warnings():
        print(f"warning: {note}")
