"""`pruneaudit pretrain`, `prune`, `mia`: a study made step by step, with the options that mia_prune's users know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import DataRootOption, DeviceOption, ExecutorOption, JobsOption, OutOption, QuietOption
from pruneaudit.cli.run import execute

StudyArgument = Annotated[str, typer.Argument(help="A study file (.toml, .json), or the name of a recipe.")]


def pretrain(
    study: StudyArgument,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    quiet: QuietOption = False,
) -> None:
    """First step: train the dense networks of a study, and attack them."""
    from pruneaudit.recipes import load_recipe_or_file
    from pruneaudit.steps import begun

    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    execute(begun(load_recipe_or_file(study), out), where, quiet, verbose=False)


def prune(
    study: StudyArgument,
    pruner_name: Annotated[
        str, typer.Option("--pruner_name", "--pruner-name", help="A pruner of ours, or l1unstructure, l1structure, ...")
    ] = "l1unstructure",
    prune_sparsity: Annotated[
        float, typer.Option("--prune_sparsity", "--prune-sparsity", help="Fraction of weights, above 0 and below 1.")
    ] = 0.7,
    prune_epochs: Annotated[
        int | None,
        typer.Option(
            "--prune_epochs", "--prune-epochs", min=1, help="Of fine-tuning; default: half of the training's."
        ),
    ] = None,
    defend: Annotated[str, typer.Option("--defend", help="A defence, such as ppb.")] = "",
    defend_arg: Annotated[
        str | None, typer.Option("--defend_arg", "--defend-arg", help="The defence's main parameter.")
    ] = None,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    quiet: QuietOption = False,
) -> None:
    """Second step: prune and fine-tune them, with or without a defence."""
    from pruneaudit import steps
    from pruneaudit.recipes import load_recipe_or_file

    so_far = steps.study_so_far(load_recipe_or_file(study), out, study)
    chosen = steps.pruned(so_far, pruner_name, prune_sparsity, prune_epochs, defend, defend_arg)
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    execute(chosen, where, quiet, verbose=False)


def mia(
    study: StudyArgument,
    attacks: Annotated[str, typer.Option("--attacks", help="Names or groups, comma-separated.")] = "samia",
    original: Annotated[bool, typer.Option("--original", help="The dense networks are what counts.")] = False,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="References are defended as the victim is.")] = False,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    quiet: QuietOption = False,
) -> None:
    """Third step: attack what the steps before have made."""
    from pruneaudit import steps
    from pruneaudit.recipes import load_recipe_or_file

    so_far = steps.study_so_far(load_recipe_or_file(study), out, study)
    chosen = steps.attacked(so_far, attacks.split(","), original, adaptive)
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    execute(chosen, where, quiet, verbose=False)
