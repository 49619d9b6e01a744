"""`pruneaudit mia-prune pretrain|prune|mia`: runs a study step by step, with the options of mia_prune."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.cli.common import DryRunOption, ExecutorOption, JobsOption, QuietOption, SetOption
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.panels import PanelGroup
from pruneaudit.cli.run import execute
from pruneaudit.cli.system_command import (
    GpuOption,
    StepCommand,
    SystemDataOption,
    SystemDeviceOption,
    SystemOutOption,
    device_of,
)
from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.study import Study

CONFIG, RELEASE, ATTACKER = "Configuration", "Pruned networks", "Attacker"
"""Panels."""
STUDY_HELP = "One of mia_prune's JSON files, the name of a recipe, or a study file (.toml, .json)."
StudyArgument = Annotated[str, typer.Argument(help=STUDY_HELP)]


def _config(name: str, meaning: str) -> Any:
    """Makes an option that a configuration file can also set."""
    return typer.Option(name, help=meaning, rich_help_panel=CONFIG)


DatasetOption = Annotated[str | None, _config("--dataset-name", "Data set.")]
ModelOption = Annotated[str | None, _config("--model-name", "Network.")]
ClassesOption = Annotated[int | None, _config("--num-cls", "Number of classes.")]
InputOption = Annotated[int | None, _config("--input-dim", "Channels of an image, or columns of a table.")]
ImageSizeOption = Annotated[int | None, _config("--image-size", "No effect, here as in mia_prune.")]
HiddenSizeOption = Annotated[int | None, _config("--hidden-size", "No effect, here as in mia_prune.")]
EpochsOption = Annotated[int | None, _config("--epochs", "Training epochs.")]
OptimizerOption = Annotated[str | None, _config("--optimizer", "adam or sgd.")]
LrOption = Annotated[float | None, _config("--lr", "Learning rate.")]
DecayOption = Annotated[float | None, _config("--weight-decay", "Weight decay.")]
BatchOption = Annotated[int | None, _config("--batch-size", "Batch size.")]
SeedOption = Annotated[int | None, _config("--seed", "Seed.")]
EarlyStopOption = Annotated[int | None, _config("--early-stop", "Patience of early stopping, in epochs.")]
ShadowsOption = Annotated[int | None, _config("--shadow-num", "Shadow networks per victim.")]
PrunerOption = Annotated[
    str | None,
    typer.Option(
        "--pruner-name",
        help="l1unstructure (default), l1structure, l2structure, slim, or a compressor of pruneaudit.",
        rich_help_panel=RELEASE,
    ),
]
SparsityOption = Annotated[
    float | None,
    typer.Option(
        "--prune-sparsity", help="Fraction of weights to remove, in (0, 1); default: 0.7.", rich_help_panel=RELEASE
    ),
]
PruneEpochsOption = Annotated[
    int | None,
    typer.Option(
        "--prune-epochs",
        min=1,
        help="Epochs of fine-tuning; default: half as many as training.",
        rich_help_panel=RELEASE,
    ),
]
DefendOption = Annotated[str, typer.Option("--defend", help="A defence, such as ppb.", rich_help_panel=RELEASE)]
DefendArgOption = Annotated[
    str | None,
    typer.Option(
        "--defend-arg",
        help="The defence's main parameter; default: 4 for ppb and adv, 0.1 for dp.",
        rich_help_panel=RELEASE,
    ),
]
BaselineOption = Annotated[
    bool,
    typer.Option(
        "--baseline",
        help="Also fine-tune the dense networks in the same way, to show what pruning itself changes.",
        rich_help_panel=RELEASE,
    ),
]

app = typer.Typer(
    name="mia-prune",
    cls=PanelGroup,
    help="Commands of mia_prune: pretrain, prune, mia.\n\nYuan & Zhang, USENIX Security 2022; same options.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("pretrain", cls=StepCommand)
def pretrain(
    study: StudyArgument,
    dataset_name: DatasetOption = None,
    model_name: ModelOption = None,
    num_cls: ClassesOption = None,
    input_dim: InputOption = None,
    image_size: ImageSizeOption = None,
    hidden_size: HiddenSizeOption = None,
    epochs: EpochsOption = None,
    optimizer: OptimizerOption = None,
    lr: LrOption = None,
    weight_decay: DecayOption = None,
    batch_size: BatchOption = None,
    seed: SeedOption = None,
    early_stop: EarlyStopOption = None,
    shadow_num: ShadowsOption = None,
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    data_root: SystemDataOption = None,
    out: SystemOutOption = Path("runs"),
    quiet: QuietOption = False,
) -> None:
    """Step 1 (pretrain.py): train the dense networks of a study.

    Also attacks them, with attacks that need no training.
    """
    from pruneaudit.published.mia_prune import load_study
    from pruneaudit.published.steps import begun

    given = {
        **{"dataset_name": dataset_name, "model_name": model_name, "num_cls": num_cls, "input_dim": input_dim},
        **{"image_size": image_size, "hidden_size": hidden_size, "epochs": epochs, "optimizer": optimizer},
        **{"lr": lr, "weight_decay": weight_decay, "batch_size": batch_size, "seed": seed},
        **{"early_stop": early_stop, "shadow_num": shadow_num},
    }
    options = {key: value for key, value in given.items() if value is not None}
    where = _where(out, executor, jobs, device_of(gpu, device), data_root)
    _do(begun(load_study(study, set_ or [], options), out), where, quiet, dry_run)


@app.command("prune", cls=StepCommand)
def prune(
    study: StudyArgument,
    pruner_name: PrunerOption = None,
    prune_sparsity: SparsityOption = None,
    prune_epochs: PruneEpochsOption = None,
    defend: DefendOption = "",
    defend_arg: DefendArgOption = None,
    baseline: BaselineOption = False,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    data_root: SystemDataOption = None,
    out: SystemOutOption = Path("runs"),
    quiet: QuietOption = False,
) -> None:
    """Step 2 (prune.py): prune and fine-tune the networks.

    --defend adds a defence; `--defend dp` is prune_dp.py.
    """
    from pruneaudit.published import steps
    from pruneaudit.published.mia_prune import load_study

    so_far = steps.study_so_far(load_study(study), out, study)
    release = steps.pruned_release(so_far, pruner_name, prune_sparsity, prune_epochs, defend, defend_arg)
    where = _where(out, executor, jobs, device_of(gpu, device), data_root)
    _do(steps.pruned(so_far, release, baseline), where, quiet, dry_run)


@app.command("mia", cls=StepCommand)
def mia(
    study: StudyArgument,
    attacks: Annotated[
        str, typer.Option("--attacks", help="Names or groups, comma-separated.", rich_help_panel=ATTACKER)
    ] = "samia",
    original: Annotated[
        bool,
        typer.Option("--original", help="Attack the dense networks; works before `prune`.", rich_help_panel=ATTACKER),
    ] = False,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive", help="Defend the references in the same way as the victim.", rich_help_panel=ATTACKER
        ),
    ] = False,
    pruner_name: PrunerOption = None,
    prune_sparsity: SparsityOption = None,
    prune_epochs: PruneEpochsOption = None,
    defend: DefendOption = "",
    defend_arg: DefendArgOption = None,
    dry_run: DryRunOption = False,
    gpu: GpuOption = None,
    device: SystemDeviceOption = None,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    data_root: SystemDataOption = None,
    out: SystemOutOption = Path("runs"),
    quiet: QuietOption = False,
) -> None:
    """Step 3 (mia.py): attack the networks of the earlier steps.

    Attacks all releases of the study. The options for pruned networks name a release that must exist.
    """
    from pruneaudit.published import steps
    from pruneaudit.published.mia_prune import load_study

    if Path(study).is_dir():
        again = shlex.join(["pruneaudit", "pruning-mia", "mia", "--runs-dir", study, "--attacks", attacks])
        raise UserError(f"{study}: got a folder, expected a study; to attack the finished runs in it: {again}")
    so_far = steps.study_so_far(load_study(study), out, study)
    if defend or pruner_name or prune_sparsity is not None:
        release = steps.pruned_release(so_far, pruner_name, prune_sparsity, prune_epochs, defend, defend_arg)
        asked = (pruner_name, prune_sparsity, prune_epochs, defend, defend_arg)
        steps.check_is_there(so_far, release, steps.prune_command(study, out, *asked))
    chosen = steps.attacked(so_far, steps.prune_command(study, out), attacks.split(","), original, adaptive)
    where = _where(out, executor, jobs, device_of(gpu, device), data_root)
    _do(chosen, where, quiet, dry_run)


def _where(out: Path, executor: str, jobs: int | None, device: str, data_root: Path | None) -> dict[str, Any]:
    return {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root}


def _do(study: Study, where: dict[str, Any], quiet: bool, dry_run: bool) -> None:
    """Runs a step, or shows what it would do."""
    if dry_run:
        describe(study, where["out"] / study.name, where["data_root"], where["device"], where["jobs"])
    else:
        execute(study, where, quiet, verbose=False)
