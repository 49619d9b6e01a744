"""`pruneaudit pretrain`, `prune`, `mia`: a study made step by step, with the options that mia_prune's users know."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    DryRunOption,
    ExecutorOption,
    JobsOption,
    OutOption,
    QuietOption,
    command_line,
    print_findings,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.run import execute
from pruneaudit.core.errors import printable
from pruneaudit.published.old_options import refuse_old

if TYPE_CHECKING:
    from pruneaudit.study import Study

STUDY_HELP = "A study file (.toml, .json), one of mia_prune's JSON files, or the name of a recipe."
StudyArgument = Annotated[str, typer.Argument(help=STUDY_HELP)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as training.epochs=5. Repeatable."),
]
PrunerOption = Annotated[
    str, typer.Option("--pruner-name", help="A pruner of ours, or l1unstructure, l1structure, l2structure, slim.")
]
SparsityOption = Annotated[
    float, typer.Option("--prune-sparsity", help="Fraction of weights that go, above 0 and below 1.")
]
PruneEpochsOption = Annotated[
    int | None, typer.Option("--prune-epochs", min=1, help="Of fine-tuning; default: half of the training's.")
]
DefendOption = Annotated[str, typer.Option("--defend", help="A defence, such as ppb.")]
DefendArgOption = Annotated[
    str | None,
    typer.Option("--defend-arg", help="The defence's main parameter; of ppb and adv 4, of dp 0.1 unless given."),
]
_OF_ITS_FILES = "Of mia_prune's files: "


class StepCommand(TyperCommand):
    """A command that may begin with the number of a GPU, as mia_prune's do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`0 STUDY ...` is `STUDY ... --device cuda:0`; a `--device` that is given counts more."""
        if len(args) > 1 and args[0].isdecimal() and not args[1].startswith("-"):
            number, *args = args
            if not any(arg == "--device" or arg.startswith("--device=") for arg in args):
                args = [*args, "--device", f"cuda:{number}"]
        refuse_old(str(self.name), args, {option for parameter in self.params for option in parameter.opts})
        return super().parse_args(ctx, args)


def pretrain(
    study: StudyArgument,
    set_: SetOption = None,
    dataset_name: Annotated[str | None, typer.Option("--dataset-name", help=f"{_OF_ITS_FILES}data set.")] = None,
    model_name: Annotated[str | None, typer.Option("--model-name", help=f"{_OF_ITS_FILES}network.")] = None,
    num_cls: Annotated[int | None, typer.Option("--num-cls", help=f"{_OF_ITS_FILES}classes.")] = None,
    input_dim: Annotated[int | None, typer.Option("--input-dim", help=f"{_OF_ITS_FILES}channels or columns.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help=f"{_OF_ITS_FILES}epochs.")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help=f"{_OF_ITS_FILES}adam or sgd.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help=f"{_OF_ITS_FILES}learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", help=f"{_OF_ITS_FILES}weight decay.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help=f"{_OF_ITS_FILES}batch size.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help=f"{_OF_ITS_FILES}seed.")] = None,
    early_stop: Annotated[int | None, typer.Option("--early-stop", help=f"{_OF_ITS_FILES}patience.")] = None,
    shadow_num: Annotated[int | None, typer.Option("--shadow-num", help=f"{_OF_ITS_FILES}shadows per victim.")] = None,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """First step: train the dense networks of a study, and have a first look with attacks that train nothing."""
    from pruneaudit.published.steps import begun
    from pruneaudit.study.recipes import load_recipe_or_file

    given = {
        **{"dataset_name": dataset_name, "model_name": model_name, "num_cls": num_cls, "input_dim": input_dim},
        **{"epochs": epochs, "optimizer": optimizer, "lr": lr, "weight_decay": weight_decay},
        **{"batch_size": batch_size, "seed": seed, "early_stop": early_stop, "shadow_num": shadow_num},
    }
    config = {key: value for key, value in given.items() if value is not None}
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    _do(begun(load_recipe_or_file(study, set_ or [], config), out), where, quiet, dry_run)


def prune(
    study: StudyArgument,
    pruner_name: PrunerOption = "l1unstructure",
    prune_sparsity: SparsityOption = 0.7,
    prune_epochs: PruneEpochsOption = None,
    defend: DefendOption = "",
    defend_arg: DefendArgOption = None,
    control: Annotated[
        bool, typer.Option("--control", help="Fine-tune the dense networks alike, too: what pruning itself changes.")
    ] = False,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Second step: prune and fine-tune them, with or without a defence."""
    from pruneaudit.published import steps
    from pruneaudit.study.recipes import load_recipe_or_file

    so_far = steps.study_so_far(load_recipe_or_file(study), out, study)
    release = steps.pruned_release(so_far, pruner_name, prune_sparsity, prune_epochs, defend, defend_arg)
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    _do(steps.pruned(so_far, release, control), where, quiet, dry_run)


def mia(
    study: Annotated[str, typer.Argument(help=f"{STUDY_HELP} Or the folder of a run, or of several runs.")],
    attacks: Annotated[
        str | None,
        typer.Option(
            "--attacks", help="Names or groups, comma-separated; default of a study samia, of runs advanced,wemem."
        ),
    ] = None,
    original: Annotated[bool, typer.Option("--original", help="The dense networks are what counts.")] = False,
    adaptive: Annotated[bool, typer.Option("--adaptive", help="References are defended as the victim is.")] = False,
    pruner_name: Annotated[
        str | None, typer.Option("--pruner-name", help="Of the networks that must be there.")
    ] = None,
    prune_sparsity: Annotated[
        float | None, typer.Option("--prune-sparsity", help="Of the networks that must be there.")
    ] = None,
    prune_epochs: PruneEpochsOption = None,
    defend: DefendOption = "",
    defend_arg: DefendArgOption = None,
    results_dir: Annotated[
        Path | None, typer.Option("--results-dir", help="Of runs: where findings and tables go; default: RUN/results.")
    ] = None,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Third step: attack what the steps before have made; all releases of the study are attacked alike.

    Of the folder of a run, or of several: other attacks on what is stored there, and the tables of Pruning_MIA.
    """
    from pruneaudit.published import steps
    from pruneaudit.study.recipes import load_recipe_or_file

    if Path(study).is_dir():
        names = (attacks or "advanced,wemem").split(",")
        if dry_run:
            _describe_evaluation(Path(study), names, data_root, device, jobs)
        else:
            _evaluate(Path(study), names, results_dir, data_root)
        return
    so_far = steps.study_so_far(load_recipe_or_file(study), out, study)
    if defend or pruner_name or prune_sparsity is not None:
        pruner, sparsity = pruner_name or "l1unstructure", 0.7 if prune_sparsity is None else prune_sparsity
        release = steps.pruned_release(so_far, pruner, sparsity, prune_epochs, defend, defend_arg)
        parts = ["pruneaudit", "prune", study, "--pruner_name", pruner, "--prune_sparsity", f"{sparsity:g}"]
        parts += ["--defend", defend] if defend else []
        parts += ["--defend_arg", defend_arg] if defend and defend_arg is not None else []
        steps.check_is_there(so_far, release, shlex.join([*parts, "--out", str(out)]))
    chosen = steps.attacked(so_far, study, (attacks or "samia").split(","), original, adaptive)
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}
    _do(chosen, where, quiet, dry_run)


def _do(study: Study, where: dict[str, Any], quiet: bool, dry_run: bool) -> None:
    """Makes a step, or says what it would do."""
    if dry_run:
        describe(study, where["out"] / study.name, where["data_root"], where["device"], where["jobs"])
    else:
        execute(study, where, quiet, verbose=False)


def _describe_evaluation(
    folder: Path, attacks: list[str], data_root: Path | None, device: str, jobs: int | None
) -> None:
    """What attacks alone would do, run by run."""
    from pruneaudit.published.pruning_mia_evaluation import runs_in
    from pruneaudit.runs import RunFolder

    for run in (run for runs in runs_in(folder) for run in runs):
        study = RunFolder.open(run).study
        asked = study.changed([f"audit.attacks={json.dumps(attacks)}"], "--attacks")
        describe(asked, run, data_root, device, jobs, finished=True)


def _evaluate(folder: Path, attacks: list[str], results_dir: Path | None, data_root: Path | None) -> None:
    """Attacks alone, on what runs have stored."""
    from pruneaudit.api import Runtime
    from pruneaudit.published.pruning_mia_evaluation import evaluate, runs_in

    groups = runs_in(folder)
    for runs in groups:
        place = results_dir / runs[0].name if results_dir and len(groups) > 1 else results_dir
        evaluated = evaluate(runs, attacks, place, Runtime(data_root=data_root), command_line())
        for run in evaluated.runs:
            print_findings(run.audit.results, run.report)
        for file in evaluated.tables:
            print(printable(f"written: {file}"))
