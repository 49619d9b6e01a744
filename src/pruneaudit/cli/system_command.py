"""Shared by the commands of the published systems: how they read arguments, and their common options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.common import DATA_ROOT_HELP, DEVICE_HELP, MACHINE, OUT_HELP, OUTPUT
from pruneaudit.cli.panels import PanelCommand
from pruneaudit.published.old_options import refuse_old
from pruneaudit.published.pruning_mia_parsing import SEVERAL, joined

GpuOption = Annotated[
    int | None, typer.Option("--gpu", min=0, help="GPU number: 0 means --device cuda:0.", rich_help_panel=MACHINE)
]
SystemDeviceOption = Annotated[
    str | None,
    typer.Option("--device", help=f"{DEVICE_HELP} Overrides --gpu; default: cpu.", rich_help_panel=MACHINE),
]
SystemOutOption = Annotated[
    Path, typer.Option("--out", "--save-dir", "--runs-dir", help=OUT_HELP, rich_help_panel=OUTPUT)
]
SystemDataOption = Annotated[
    Path | None, typer.Option("--data-root", "--datapath", help=DATA_ROOT_HELP, rich_help_panel=MACHINE)
]


class SystemCommand(PanelCommand):
    """A command of a published system; answers an unsupported option of theirs with ours."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses old options in one line, before any value is read."""
        refuse_old(path_of(ctx), args, {option for parameter in self.params for option in parameter.opts})
        return super().parse_args(ctx, args)


class StepCommand(SystemCommand):
    """A command of mia_prune, whose first argument can be the number of a GPU."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads `0 STUDY ...` as `STUDY ... --gpu 0`."""
        if len(args) > 1 and args[0].isdecimal() and not args[1].startswith("-"):
            number, *args = args
            args = ["--gpu", number, *args]
        return super().parse_args(ctx, args)


class GridCommand(SystemCommand):
    """A command of Pruning_MIA, whose options can take several space-separated values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads `--methods dense static` as `--methods dense,static`."""
        return super().parse_args(ctx, joined(args, (*SEVERAL, "wandb-tags")))


def path_of(ctx: Any) -> str:
    """Returns the command's full name without the program's: `mia-prune prune`."""
    return " ".join(str(ctx.command_path).split()[-2:])


def device_of(gpu: int | None, device: str | None) -> str:
    """Returns the device that a command line asks for."""
    return device or ("cpu" if gpu is None else f"cuda:{gpu}")
