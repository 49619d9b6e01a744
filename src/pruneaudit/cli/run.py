"""`pruneaudit run`: a study from its file, or a packaged recipe, to its report."""

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
    ShowRecordsOption,
    VerboseOption,
    WaitOption,
    command_line,
    print_findings,
    progress_for,
    ray_cluster_from,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.grid import chosen
from pruneaudit.cli.grid_options import (
    ArchOption,
    AttacksOption,
    BatchSizeOption,
    DatasetOption,
    EpochsOption,
    FreezeEpochOption,
    LayersOption,
    LrOption,
    MethodsOption,
    MomentumOption,
    NameOption,
    NumModelsOption,
    PruneFreqOption,
    ResultsDirOption,
    SeedOption,
    SeedsOption,
    SkipExistingOption,
    SparsitiesOption,
    TargetEpochOption,
    WeightDecayOption,
    WidthOption,
    given_options,
)
from pruneaudit.cli.tracking_options import (
    MlflowOption,
    MlflowUriOption,
    TensorboardOption,
    WandbEntityOption,
    WandbOption,
    WandbProjectOption,
    WandbTagsOption,
    trackers_from,
)
from pruneaudit.core.errors import printable

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
    ray_address: RayAddressOption = None,
    gpus_per_task: GpusPerTaskOption = None,
    data_root: DataRootOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    wandb: WandbOption = False,
    wandb_project: WandbProjectOption = None,
    wandb_entity: WandbEntityOption = None,
    wandb_tags: WandbTagsOption = None,
    mlflow: MlflowOption = False,
    mlflow_uri: MlflowUriOption = None,
    tensorboard: TensorboardOption = False,
    methods: MethodsOption = None,
    sparsities: SparsitiesOption = None,
    name: NameOption = None,
    dataset: DatasetOption = None,
    arch: ArchOption = None,
    layers: LayersOption = None,
    width: WidthOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    lr: LrOption = None,
    momentum: MomentumOption = None,
    weight_decay: WeightDecayOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    prune_freq: PruneFreqOption = None,
    target_epoch: TargetEpochOption = None,
    freeze_epoch: FreezeEpochOption = None,
    num_models: NumModelsOption = None,
    attacks: AttacksOption = None,
    results_dir: ResultsDirOption = None,
    skip_existing: SkipExistingOption = False,
    show_records: ShowRecordsOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a bank, prune it, attack it, report. What is on disk already is not made again."""
    given = given_options(
        methods=methods, sparsities=sparsities, name=name, dataset=dataset, arch=arch, layers=layers, width=width,
        epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum, weight_decay=weight_decay, seed=seed,
        seeds=seeds, prune_freq=prune_freq, target_epoch=target_epoch, freeze_epoch=freeze_epoch,
        num_models=num_models, attacks=attacks, results_dir=results_dir,
    )  # fmt: skip
    todo = chosen(study, given, set_ or [], out)
    tracked = (wandb, wandb_project, wandb_entity, wandb_tags, mlflow, mlflow_uri, tensorboard)
    trackers = [trackers_from(*tracked) for _ in todo.studies]  # a run's own: they end with it
    if dry_run:
        for each in todo.studies:
            describe(each, out / each.name, data_root, device, jobs)
        return
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
    where |= {"show_records": show_records or None}
    where |= {"ray_cluster": ray_cluster_from(ray_address, gpus_per_task)}
    incomplete = False
    for each, its in zip(todo.studies, trackers, strict=True):
        try:
            execute(each, where | {"trackers": its}, quiet, verbose)
        except typer.Exit:
            incomplete = True
    todo.write_tables(out)
    if incomplete:
        raise typer.Exit(1)


def execute(study: Study, where: dict[str, Any], quiet: bool, verbose: bool, demonstration: bool = False) -> None:
    """Runs a study under a progress display, and prints what it found.

    Args:
        study: what to do.
        where: `out` and `show_records` as `pruneaudit.run` takes them, and the settings of `Runtime`.
        quiet: show no progress.
        verbose: name every task.
        demonstration: the report says that it is one.
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
