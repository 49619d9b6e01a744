"""Help in panels: options and commands under headings, as plain text.

Typer draws its panels with rich, whose import takes longer than all the rest of `pruneaudit --help`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

OPTIONS, COMMANDS = "Options", "Commands"
"""The panels of options and commands that name none."""


def _write(formatter: Any, panels: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Writes rows under the headings of their panels, in the order of each panel's first row."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for panel, row in panels:
        rows.setdefault(panel, []).append(row)
    for panel, of_it in rows.items():
        with formatter.section(panel):
            formatter.write_dl(of_it)


def _of_options(command: TyperCommand | TyperGroup, ctx: Any) -> Iterable[tuple[str, tuple[str, str]]]:
    for parameter in command.get_params(ctx):
        row = parameter.get_help_record(ctx)
        if row is not None:
            usual = "Arguments" if parameter.param_type_name == "argument" else OPTIONS
            yield getattr(parameter, "rich_help_panel", None) or usual, row


class PanelCommand(TyperCommand):
    """A command that shows its options in the panels that they name (`rich_help_panel`)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes options, panel by panel."""
        _write(formatter, _of_options(self, ctx))


class PanelGroup(TyperGroup):
    """A group that shows its commands in the panels that they name (`rich_help_panel`)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Shows help, for `--help` or without a command, before any value is read: reading imports pydantic."""
        if not args:
            print(ctx.get_help())
            ctx.exit(2)
        if "--help" in args and (named := self._named(ctx, list(args))) is not None:
            print(named.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def _named(self, ctx: Any, words: list[str]) -> Any:
        """Returns the context of the command for which `--help` was asked; None if there is no such command."""
        command: Any = self
        while words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]
            ctx = command.context_class(command, info_name=words.pop(0), parent=ctx)
        return ctx if words[0] == "--help" or not hasattr(command, "commands") else None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes options, then commands, panel by panel."""
        _write(formatter, _of_options(self, ctx))
        named = [(name, command) for name, command in self.commands.items() if not command.hidden]
        width = formatter.width - 6 - max(len(name) for name, _ in named)
        rows = (
            (getattr(command, "rich_help_panel", None) or COMMANDS, (name, command.get_short_help_str(width)))
            for name, command in named
        )
        _write(formatter, rows)
