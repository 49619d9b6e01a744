"""The options of `pruneaudit pruning-mia train` and `run-experiment`, as Pruning_MIA names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.cli.common import TRACKING
from pruneaudit.core.errors import UserError
from pruneaudit.published.pruning_mia_parsing import parts_of

if TYPE_CHECKING:
    from pruneaudit.tracking import Tracker

GRID, TRAINING, SEEDS, ATTACKER, RESULTS = "Grid", "Training", "Seeds", "Attacker", "Results"
"""Panels."""
NO_EFFECT = "No effect here"


def _grid(name: str, meaning: str) -> Any:
    return typer.Option(name, help=meaning, rich_help_panel=GRID)


def _training(name: str, meaning: str) -> Any:
    return typer.Option(name, help=meaning, rich_help_panel=TRAINING)


def _seeds(name: str, meaning: str) -> Any:
    return typer.Option(name, help=meaning, rich_help_panel=SEEDS)


def _tracking(name: str, meaning: str) -> Any:
    return typer.Option(name, help=meaning, rich_help_panel=TRACKING)


MethodsOption = Annotated[list[str] | None, _grid("--methods", "dense static dpf (default), or some of them.")]
SparsitiesOption = Annotated[
    list[str] | None, _grid("--sparsities", "Fractions of weights to remove, such as 0.8 0.9.")
]
NameOption = Annotated[str | None, _grid("--name", "Name of the pruned release, if there is only one.")]
DatasetOption = Annotated[str | None, _grid("--dataset", "cifar10 (default), cifar100, or any source of pruneaudit.")]
ArchOption = Annotated[str | None, _grid("--arch", "resnet (default) or wideresnet.")]
LayersOption = Annotated[int | None, _grid("--layers", "Depth; default: 20; wideresnet: 28.")]
WidthOption = Annotated[int | None, _grid("--width", "Width in units of 16 channels; default: 1; wideresnet: 10.")]
NumModelsOption = Annotated[int | None, _grid("--num-models", "Networks per release; default: 16.")]
ConfigOption = Annotated[
    str | None, _grid("--config", "YAML or JSON file of settings; options on the command line override it.")
]
PruneOption = Annotated[bool, _grid("--prune", "Train a pruned network; without it, a dense one.")]
PruneMethodOption = Annotated[str | None, _grid("--prune-method", "static (default) or dpf.")]
SparsityOption = Annotated[float | None, _grid("--sparsity", "Fraction of weights to remove; default: 0.5.")]
PruneTypeOption = Annotated[str, _grid("--prune-type", f"{NO_EFFECT}, as in Pruning_MIA: masks are unstructured.")]

EpochsOption = Annotated[int | None, _training("--epochs", "Epochs; default: 200.")]
BatchSizeOption = Annotated[int | None, _training("--batch-size", "Batch size; default: 128.")]
LrOption = Annotated[float | None, _training("--lr", "Learning rate; default: 0.1.")]
MomentumOption = Annotated[float | None, _training("--momentum", "Momentum; default: 0.9.")]
WeightDecayOption = Annotated[float | None, _training("--weight-decay", "Weight decay; default: 0.0005.")]
PruneFreqOption = Annotated[int | None, _training("--prune-freq", "dpf: steps between mask updates; default: 16.")]
TargetEpochOption = Annotated[
    int | None, _training("--target-epoch", "dpf: epoch at which the sparsity is reached; default: 75 of 200.")
]
FreezeEpochOption = Annotated[
    int | None, _training("--freeze-epoch", "dpf: epoch from which masks are fixed; -1: never; default: 180 of 200.")
]
SkipExistingOption = Annotated[bool, _training("--skip-existing", f"{NO_EFFECT}: finished parts are always reused.")]
WorkersOption = Annotated[int | None, _training("--workers", f"{NO_EFFECT}: the data stay in memory.")]
PrintFreqOption = Annotated[int | None, _training("--print-freq", f"{NO_EFFECT}; --verbose prints a line per task.")]

SeedOption = Annotated[str | None, _seeds("--seed", "Seed; default: 42.")]
SeedsOption = Annotated[list[str] | None, _seeds("--seeds", "One run per seed, and a summary over seeds: 43 44 45.")]
MultiSeedOption = Annotated[bool, _seeds("--multi-seed", "One run for each of --num-seeds seeds, from --start-seed.")]
NumSeedsOption = Annotated[
    int | None, typer.Option("--num-seeds", min=1, help="Number of seeds; default: 8.", rich_help_panel=SEEDS)
]
StartSeedOption = Annotated[
    int | None, typer.Option("--start-seed", min=0, help="First seed; default: 43.", rich_help_panel=SEEDS)
]

AttacksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attacks",
        help="Names such as lira, or groups; default: advanced wemem (nine attacks).",
        rich_help_panel=ATTACKER,
    ),
]
MiaOption = Annotated[
    bool, typer.Option("--mia", help="No effect here: a run always attacks.", rich_help_panel=ATTACKER)
]
NumShadowsOption = Annotated[
    int | None,
    typer.Option(
        "--num-shadows",
        min=1,
        help="Shadow networks per network; default: 15, the others of its release.",
        rich_help_panel=ATTACKER,
    ),
]
ResultsDirOption = Annotated[
    Path | None,
    typer.Option("--results-dir", help="Folder for tables; default: OUT/STUDY/results.", rich_help_panel=RESULTS),
]

WandbOption = Annotated[bool, _tracking("--wandb", "Track in Weights & Biases; offline if not logged in.")]
WandbProjectOption = Annotated[
    str | None, _tracking("--wandb-project", "W&B project; default: $WANDB_PROJECT or pruneaudit.")
]
WandbEntityOption = Annotated[str | None, _tracking("--wandb-entity", "W&B user or team.")]
WandbTagsOption = Annotated[list[str] | None, _tracking("--wandb-tags", "W&B tags, separated by commas or spaces.")]


def wandb_from(wandb: bool, project: str | None, entity: str | None, tags: list[str] | None) -> list[Tracker]:
    """Returns the W&B tracker for `--wandb` and its options, or an empty list.

    Raises:
        UserError: W&B is not installed, or one of its options was given without `--wandb`.
    """
    options = {"project": project, "entity": entity, "tags": parts_of(tags)}
    given = {key: value for key, value in options.items() if value}
    if not wandb and given:
        raise UserError(f"--wandb-{next(iter(given))}: got it without --wandb; add --wandb, or leave it out")
    if not wandb:
        return []
    from pruneaudit.tracking import tracker

    return [tracker("wandb", **given)]
