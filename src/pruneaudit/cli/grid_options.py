"""The options of `pruneaudit run` that Pruning_MIA's users know, and what they ask for.

Its parser takes several values after one flag, `--methods dense static dpf`; so does `GridCommand`, beside values
with commas between and flags that are repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pruneaudit.core.errors import UserError
from pruneaudit.published.old_options import refuse_old

if TYPE_CHECKING:
    from pruneaudit.published.pruning_mia import Grid

_OF = "Of pruning-mia studies: "
MethodsOption = Annotated[list[str] | None, typer.Option("--methods", help=f"{_OF}dense static dpf, or some of them.")]
SparsitiesOption = Annotated[
    list[str] | None, typer.Option("--sparsities", help=f"{_OF}fractions of weights that go, such as 0.8 0.9.")
]
NameOption = Annotated[str | None, typer.Option("--name", help=f"{_OF}name of the one release that is asked for.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help=f"{_OF}any data source, such as cifar100.")]
ArchOption = Annotated[str | None, typer.Option("--arch", help=f"{_OF}resnet or wideresnet.")]
LayersOption = Annotated[int | None, typer.Option("--layers", help=f"{_OF}depth of the network.")]
WidthOption = Annotated[int | None, typer.Option("--width", help=f"{_OF}width of the network, times its usual stem.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help=f"{_OF}epochs.")]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size", help=f"{_OF}batch size.")]
LrOption = Annotated[float | None, typer.Option("--lr", help=f"{_OF}learning rate.")]
MomentumOption = Annotated[float | None, typer.Option("--momentum", help=f"{_OF}momentum.")]
WeightDecayOption = Annotated[float | None, typer.Option("--weight-decay", help=f"{_OF}weight decay.")]
SeedOption = Annotated[str | None, typer.Option("--seed", help=f"{_OF}seed; default 42.")]
SeedsOption = Annotated[
    list[str] | None, typer.Option("--seeds", help=f"{_OF}one run per seed, and a summary over them.")
]
PruneFreqOption = Annotated[int | None, typer.Option("--prune-freq", help=f"{_OF}steps between two moves of a mask.")]
TargetEpochOption = Annotated[int | None, typer.Option("--target-epoch", help=f"{_OF}when the sparsity is reached.")]
FreezeEpochOption = Annotated[
    int | None, typer.Option("--freeze-epoch", help=f"{_OF}from when masks are held; -1: never.")
]
NumModelsOption = Annotated[int | None, typer.Option("--num-models", help=f"{_OF}models of each release.")]
AttacksOption = Annotated[
    list[str] | None, typer.Option("--attacks", help=f"{_OF}advanced, wemem, or names such as lira.")
]
SkipExistingOption = Annotated[
    bool, typer.Option("--skip-existing", help="What is on disk is never made again, with this option or without.")
]
ResultsDirOption = Annotated[
    Path | None, typer.Option("--results-dir", help=f"{_OF}where tables go; default: OUT/STUDY/results.")
]
SEVERAL = ("methods", "sparsities", "seeds", "attacks")
"""Options of several values."""
INSTEAD = {
    "dataset": "data.source=NAME",
    "epochs": "training.epochs=N",
    "batch_size": "training.batch_size=N",
    "lr": "training.learning_rate=X",
    "momentum": "training.momentum=X",
    "weight_decay": "training.weight_decay=X",
    "seed": "seed=N",
    "num_models": "membership.num_models=N",
    "attacks": 'audit.attacks=["lira"]',
    "arch": "model.name=NAME",
    "layers": "model.options.depth=N",
}
"""What says the same of any study, with `--set`."""


class GridCommand(TyperCommand):
    """A command whose options of several values may have them one after another."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--methods dense static` is `--methods dense,static`."""
        refuse_old(str(self.name), args, {option for parameter in self.params for option in parameter.opts})
        return super().parse_args(ctx, joined(args, (*SEVERAL, "wandb-tags")))


def joined(args: list[str], several: tuple[str, ...]) -> list[str]:
    """Arguments in which all values that follow an option of `several` are one, with commas between.

    Its values end where the next option begins, or what can only be a study: a file, or a name with a slash.

    Raises:
        UserError: such an option has no value at all.
    """
    flags, done, rest = {f"--{name}" for name in several}, [], list(args)
    while rest and rest[0] != "--":
        flag = rest.pop(0)
        done.append(flag)
        values = []
        while flag in flags and rest and not rest[0].startswith("-") and not _is_study(rest[0]):
            values.append(rest.pop(0))
        if flag in flags and not values:
            raise UserError(f"{flag}: got no value, expected one or more, such as {flag} A B")
        done += [",".join(values)] if values else []
    return done + rest


def _is_study(text: str) -> bool:
    return "/" in text or text.endswith((".toml", ".json"))


def given_options(**options: Any) -> dict[str, Any]:
    """What was given of the grid's options, by the grid's own keys; texts with commas in them taken apart."""
    given = {key: value for key, value in options.items() if value not in (None, [], ())}
    for key in SEVERAL:
        if key in given:
            given[key] = [part.strip() for text in given[key] for part in text.split(",") if part.strip()]
    return given


def grids(name: str, given: Mapping[str, Any]) -> list[Grid]:
    """The grids that options ask for, one for each seed.

    Args:
        name: of the recipe.
        given: as from `given_options`.

    Raises:
        UserError: an option is wrong, or two do not go together.
    """
    from pruneaudit.core.options import validated
    from pruneaudit.published.pruning_mia import RECIPES, Grid

    if "seed" in given and "seeds" in given:
        raise UserError("--seed, --seeds: got both, expected one of them")
    values = RECIPES[name].model_dump(exclude_unset=True) | dict(given)
    seeds = values.pop("seeds", None)
    if seeds == []:
        raise UserError("--seeds: got no number, expected seeds such as 42 43")
    each = [values] if seeds is None else [values | {"seed": seed} for seed in seeds]
    made = [validated(Grid, grid, name) for grid in each]
    return list({grid.seed: grid for grid in made}.values())


def refuse(study: str, given: Mapping[str, Any]) -> None:
    """Says what to use instead of the grid's options with any other study.

    Raises:
        UserError: one was given.
    """
    if not given:
        return
    key = next(iter(given))
    instead = f"use --set {INSTEAD[key]}" if key in INSTEAD else "write it into a study file of your own"
    raise UserError(
        f"--{key.replace('_', '-')}: belongs to the studies pruning-mia/cifar10 and pruning-mia/cifar100;"
        f" with '{study}' {instead}"
    )
