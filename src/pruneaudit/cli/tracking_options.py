"""The options of experiment trackers, and the trackers that they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.tracking import Tracker

WandbOption = Annotated[
    bool, typer.Option("--wandb", help="Track the run in Weights & Biases; offline if not logged in.")
]
WandbProjectOption = Annotated[
    str | None, typer.Option("--wandb-project", help="W&B project; default: $WANDB_PROJECT or pruneaudit.")
]
WandbEntityOption = Annotated[str | None, typer.Option("--wandb-entity", help="W&B user or team.")]
WandbTagsOption = Annotated[
    list[str] | None, typer.Option("--wandb-tags", help="W&B tags, with commas between. Repeatable.")
]
MlflowOption = Annotated[bool, typer.Option("--mlflow", help="Track the run in MLflow; a file in the run folder.")]
MlflowUriOption = Annotated[
    str | None, typer.Option("--mlflow-uri", help="MLflow server or database; default: $MLFLOW_TRACKING_URI.")
]
TensorboardOption = Annotated[bool, typer.Option("--tensorboard", help="Write the run's curves for TensorBoard.")]


def trackers_from(
    wandb: bool = False,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_tags: list[str] | None = None,
    mlflow: bool = False,
    mlflow_uri: str | None = None,
    tensorboard: bool = False,
) -> list[Tracker]:
    """The trackers that a command line asks for; their libraries are looked for, and not imported.

    Raises:
        UserError: a library is not installed, or an option is of a tracker that was not asked for.
    """
    tags = [tag.strip() for text in wandb_tags or () for tag in text.split(",") if tag.strip()]
    asked: dict[str, tuple[bool, dict[str, Any]]] = {
        "wandb": (wandb, {"project": wandb_project, "entity": wandb_entity, "tags": tags}),
        "mlflow": (mlflow, {"uri": mlflow_uri}),
        "tensorboard": (tensorboard, {}),
    }
    made = []
    for name, (wanted, options) in asked.items():
        given = {key: value for key, value in options.items() if value}
        if not wanted and given:
            raise UserError(f"--{name}-{next(iter(given))}: got it without --{name}; add --{name}, or leave it out")
        if wanted:
            from pruneaudit.tracking import tracker

            made.append(tracker(name, **given))
    return made
