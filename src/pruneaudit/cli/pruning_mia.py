"""`pruneaudit pruning-mia train|run-experiment|mia|test|export`: the commands and options of Pruning_MIA."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import (
    OUTPUT,
    DryRunOption,
    ForceOption,
    JobsOption,
    QuietOption,
    StepLine,
    command_line,
    print_findings,
    progress_for,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.panels import PanelGroup
from pruneaudit.cli.pruning_mia_train import run_experiment, train
from pruneaudit.cli.sanity_check import show
from pruneaudit.cli.system_command import (
    GpuOption,
    GridCommand,
    SystemDataOption,
    SystemDeviceOption,
    device_of,
)
from pruneaudit.core.errors import printable
from pruneaudit.published.pruning_mia_parsing import attacks_asked, parts_of

app = typer.Typer(
    name="pruning-mia",
    cls=PanelGroup,
    help="Commands of Pruning_MIA: train, run-experiment, mia, ...\n\n"
    "Attack dense, static and DPF networks with nine attacks; same options.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("train", cls=GridCommand)(train)
app.command("run-experiment", cls=GridCommand)(run_experiment)

RunsDirOption = Annotated[Path, typer.Option("--runs-dir", help="The folder of one run, or of several runs.")]


@app.command("mia", cls=GridCommand)
def mia(
    runs_dir: RunsDirOption = Path("runs"),
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="FAMILY", help="advanced (mia_advanced.py) or wemem (mia_wemem.py)."),
    ] = None,
    attacks: Annotated[
        list[str] | None, typer.Option("--attacks", help="Names such as lira; default: all nine, or those of --only.")
    ] = None,
    results_dir: Annotated[
        Path | None,
        typer.Option("--results-dir", help="Folder for findings and tables; default: RUN/results/ATTACKS."),
    ] = None,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    jobs: JobsOption = None,
    data_root: SystemDataOption = None,
    quiet: QuietOption = False,
) -> None:
    """Attack finished runs (unified_mia_evaluation.py).

    Trains no network, and leaves the findings of the runs as they are.
    """
    from pruneaudit.published.pruning_mia_evaluation import runs_in

    names, groups = attacks_asked(only, attacks), runs_in(runs_dir)
    if dry_run:
        _describe_evaluation(groups, names, (data_root, device_of(gpu, device), jobs))
        return
    from pruneaudit.api import Runtime
    from pruneaudit.published.pruning_mia_evaluation import evaluate

    for runs in groups:
        place = results_dir / runs[0].name if results_dir and len(groups) > 1 else results_dir
        with progress_for(quiet, verbose=False) as progress:
            runtime = Runtime(jobs=jobs, device=device_of(gpu, device), data_root=data_root, progress=progress)
            evaluated = evaluate(runs, names, place, runtime, command_line())
        for run in evaluated.runs:
            print_findings(run.audit.results, run.report)
        for file in evaluated.tables:
            print(printable(f"written: {file}"))


def _describe_evaluation(
    groups: list[list[Path]], attacks: list[str], machine: tuple[Path | None, str, int | None]
) -> None:
    """Shows what the attacks would do, run by run."""
    from pruneaudit.runs import RunFolder

    for run in (run for runs in groups for run in runs):
        study = RunFolder.open(run).study
        asked = study.changed([f"audit.attacks={json.dumps(attacks)}"], "--attacks")
        describe(asked, run, *machine, finished=True)


@app.command("test", cls=GridCommand)
def test(
    runs_dir: RunsDirOption = Path("runs"),
    attacks: Annotated[
        list[str] | None, typer.Option("--attacks", help="Names such as lira; default: every attack.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the made-up predictions.")] = 0,
    data_root: SystemDataOption = None,
    quiet: QuietOption = False,
) -> None:
    """Test the attacks on finished runs (test_mia.py).

    They must find planted members, and nothing where membership is random.
    """
    from pruneaudit.api import sanity_check
    from pruneaudit.published.pruning_mia_evaluation import runs_in

    failed = False
    for run in (run for runs in runs_in(runs_dir) for run in runs):
        with StepLine(quiet or not sys.stderr.isatty()) as line:
            found = sanity_check(run, parts_of(attacks) or ["all"], seed, data_root, line.say)
        failed = not show(found, seed) or failed
    if failed:
        raise typer.Exit(1)


@app.command("export", cls=GridCommand)
def export(
    run: Annotated[list[Path], typer.Argument(help="Folder of a finished run, and folders of its other seeds.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to create.", rich_help_panel=OUTPUT)],
    model_id: Annotated[int, typer.Option("--model-id", help="Model of each release whose weights are written.")] = 0,
    force: ForceOption = False,
) -> None:
    """Write finished runs as Pruning_MIA's folders and tables.

    For example runs/static/sparsity_0.8/cifar10/best_model.pth and results/advanced/lira.csv.
    """
    from pruneaudit.published.pruning_mia_tree import export_tree

    tree = export_tree(run, out, model_id, force)
    for folder in tree.experiments:
        print(printable(f"written: {folder}"))
    print(printable(f"tables: {tree.folder / 'results'}"))
