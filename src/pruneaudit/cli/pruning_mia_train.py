"""`pruneaudit pruning-mia train` and `run-experiment`: train the grid of Pruning_MIA, or one cell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pruneaudit.cli import pruning_mia_options as its
from pruneaudit.cli.common import (
    DryRunOption,
    ExecutorOption,
    GpusPerTaskOption,
    JobsOption,
    QuietOption,
    RayAddressOption,
    SetOption,
    ShowRecordsOption,
    VerboseOption,
    WaitOption,
    ray_cluster_from,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.run import execute
from pruneaudit.cli.system_command import (
    GpuOption,
    SystemDataOption,
    SystemDeviceOption,
    SystemOutOption,
    device_of,
)
from pruneaudit.cli.tracking_options import TrackOption, trackers_from
from pruneaudit.core.errors import printable
from pruneaudit.published.pruning_mia_parsing import experiment, given_options, grids, options_of, several_seeds

if TYPE_CHECKING:
    import pandas as pd

    from pruneaudit.published.pruning_mia import Grid
    from pruneaudit.published.pruning_mia_training import Training
    from pruneaudit.tracking import Tracker

SHOWN = ("auc", "accuracy")
"""Metrics that the printed table over seeds shows; the file has all."""


def train(
    methods: its.MethodsOption = None,
    sparsities: its.SparsitiesOption = None,
    dataset: its.DatasetOption = None,
    arch: its.ArchOption = None,
    layers: its.LayersOption = None,
    width: its.WidthOption = None,
    name: its.NameOption = None,
    num_models: its.NumModelsOption = None,
    epochs: its.EpochsOption = None,
    batch_size: its.BatchSizeOption = None,
    lr: its.LrOption = None,
    momentum: its.MomentumOption = None,
    weight_decay: its.WeightDecayOption = None,
    prune_freq: its.PruneFreqOption = None,
    target_epoch: its.TargetEpochOption = None,
    freeze_epoch: its.FreezeEpochOption = None,
    skip_existing: its.SkipExistingOption = False,
    seed: its.SeedOption = None,
    seeds: its.SeedsOption = None,
    multi_seed: its.MultiSeedOption = False,
    num_seeds: its.NumSeedsOption = None,
    start_seed: its.StartSeedOption = None,
    attacks: its.AttacksOption = None,
    results_dir: its.ResultsDirOption = None,
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    ray_address: RayAddressOption = None,
    gpus_per_task: GpusPerTaskOption = None,
    data_root: SystemDataOption = None,
    wait: WaitOption = False,
    wandb: its.WandbOption = False,
    wandb_project: its.WandbProjectOption = None,
    wandb_entity: its.WandbEntityOption = None,
    wandb_tags: its.WandbTagsOption = None,
    track: TrackOption = None,
    out: SystemOutOption = Path("runs"),
    show_records: ShowRecordsOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train and attack the grid, or a part of it (train.py).

    Writes training_results.csv and comprehensive_mia_results.csv.
    """
    given = given_options(
        methods=methods, sparsities=sparsities, name=name, dataset=dataset, arch=arch, layers=layers, width=width,
        num_models=num_models, epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum,
        weight_decay=weight_decay, prune_freq=prune_freq, target_epoch=target_epoch, freeze_epoch=freeze_epoch,
        seed=seed, seeds=seeds, attacks=attacks,
    )  # fmt: skip
    if (several := several_seeds(multi_seed, num_seeds, start_seed)) is not None:
        given["seeds"] = [*given.get("seeds", []), *several]
    device = device_of(gpu, device)
    where: dict[str, Any] = {"executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    where |= {"wait": wait, "show_records": show_records or None}
    where |= {"ray_cluster": ray_cluster_from(ray_address, gpus_per_task)}

    def trackers() -> list[Tracker]:
        return trackers_from(track) + its.wandb_from(wandb, wandb_project, wandb_entity, wandb_tags)

    asked = grids(given, "pruning-mia train")
    _train(
        asked,
        set_ or [],
        where | {"out": out},
        trackers,
        results_dir=results_dir,
        dry_run=dry_run,
        quiet=quiet,
        verbose=verbose,
    )


def run_experiment(
    config: its.ConfigOption = None,
    name: its.NameOption = None,
    prune: its.PruneOption = False,
    prune_method: its.PruneMethodOption = None,
    sparsity: its.SparsityOption = None,
    prune_type: its.PruneTypeOption = "unstructured",
    dataset: its.DatasetOption = None,
    arch: its.ArchOption = None,
    layers: its.LayersOption = None,
    epochs: its.EpochsOption = None,
    batch_size: its.BatchSizeOption = None,
    lr: its.LrOption = None,
    momentum: its.MomentumOption = None,
    weight_decay: its.WeightDecayOption = None,
    prune_freq: its.PruneFreqOption = None,
    target_epoch: its.TargetEpochOption = None,
    freeze_epoch: its.FreezeEpochOption = None,
    workers: its.WorkersOption = None,
    print_freq: its.PrintFreqOption = None,
    seed: its.SeedOption = None,
    mia: its.MiaOption = False,
    num_shadows: its.NumShadowsOption = None,
    attacks: its.AttacksOption = None,
    results_dir: its.ResultsDirOption = None,
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    data_root: SystemDataOption = None,
    wait: WaitOption = False,
    wandb: its.WandbOption = False,
    wandb_project: its.WandbProjectOption = None,
    wandb_entity: its.WandbEntityOption = None,
    wandb_tags: its.WandbTagsOption = None,
    out: SystemOutOption = Path("runs"),
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train one cell of the grid (run_experiment.py).

    Adds it to the cells in the run folder, and attacks them all.
    """
    asked = options_of(
        config,
        name=name, prune=prune, prune_method=prune_method, sparsity=sparsity, dataset=dataset, arch=arch,
        layers=layers, epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum, weight_decay=weight_decay,
        prune_freq=prune_freq, target_epoch=target_epoch, freeze_epoch=freeze_epoch, seed=seed,
        num_shadows=num_shadows, attacks=attacks, wandb=wandb, wandb_project=wandb_project,
        wandb_entity=wandb_entity, wandb_tags=wandb_tags,
    )  # fmt: skip
    tracked = [asked.pop(key, None) for key in ("wandb", "wandb_project", "wandb_entity", "wandb_tags")]
    cell = [asked.pop(key, None) for key in ("prune", "prune_method", "sparsity", "name", "num_shadows")]
    made = grids(experiment(*cell) | given_options(**asked), "pruning-mia run-experiment")
    device = device_of(gpu, device)
    where: dict[str, Any] = {"executor": executor, "jobs": jobs, "device": device, "data_root": data_root}

    def trackers() -> list[Tracker]:
        return its.wandb_from(*tracked)

    _train(
        made,
        set_ or [],
        where | {"wait": wait, "out": out},
        trackers,
        results_dir=results_dir,
        dry_run=dry_run,
        quiet=quiet,
        verbose=verbose,
    )


def _train(
    asked: list[Grid],
    overrides: list[str],
    where: Mapping[str, Any],
    trackers: Callable[[], list[Tracker]],
    *,
    results_dir: Path | None,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Runs a study for each seed, and writes the tables of all.

    Args:
        asked: the grids, one per seed.
        overrides: `key=value` changes to the settings of the studies.
        where: as for `execute`.
        trackers: makes the trackers of one run, which end with it.
        results_dir: the folder for tables.
        dry_run: show what would be done, and do nothing.
        quiet: show no progress.
        verbose: name every task.
    """
    from pruneaudit.published.pruning_mia_training import training_of

    training = training_of(asked, overrides, where["out"], results_dir)
    each_its = [trackers() for _ in training.studies]  # a missing package is reported before any training
    if dry_run:
        for study in training.studies:
            describe(study, where["out"] / study.name, where["data_root"], where["device"], where["jobs"])
        return
    incomplete = False
    for study, of_it in zip(training.studies, each_its, strict=True):
        try:
            execute(study, {**where, "trackers": of_it}, quiet, verbose)
        except typer.Exit:
            incomplete = True
    _write_tables(training, where["out"])
    if incomplete:
        raise typer.Exit(1)


def _write_tables(training: Training, out: Path) -> None:
    """Writes the tables of a grid and prints their paths; for several seeds, also their means."""
    from pruneaudit.published.pruning_mia_tables import SEEDS_FILE, results_over_seeds

    runs, files = training.write_tables(out)
    if files[-1].name == SEEDS_FILE:
        _print_over_seeds(results_over_seeds(runs), [run.study.seed for run in runs])
    for file in files:
        print(printable(f"written: {file}"))


def _print_over_seeds(table: pd.DataFrame, seeds: list[int]) -> None:
    """Prints means over seeds with intervals, one line per experiment and attack; the file has all figures."""
    print(f"\nmeans over seeds {', '.join(map(str, seeds))} [95% interval over seeds]")
    for experiment_, of_it in table.groupby("experiment", sort=False):
        print(experiment_)
        for attack, rows in of_it.groupby("attack", sort=False):
            said = [f"{row['metric']} {_said(row)}" for _, row in rows.iterrows() if row["metric"] in SHOWN]
            print(f"  {str(attack) or 'network':18} {', '.join(said)}")


def _said(row: pd.Series) -> str:
    if not row["num_seeds"]:
        return "suppressed"
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["num_seeds"] > 1 else ""
    return f"{row['mean']:.3f}{interval}"
