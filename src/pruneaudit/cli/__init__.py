"""The command line: one file per subcommand; heavy modules are imported only when needed."""

from __future__ import annotations

import atexit
import gc
import os
import sys

import typer

from pruneaudit.cli import (
    attack,
    audit,
    audit_model,
    canaries,
    check,
    choose,
    claims,
    clean,
    collect,
    compleak,
    compress,
    demo,
    export,
    families,
    figures,
    frontier,
    listing,
    mia_prune,
    migrate,
    power,
    pruning_mia,
    records,
    report,
    run,
    sanity_check,
    verify,
)
from pruneaudit.cli.common import main_callback
from pruneaudit.cli.former import AuditCommand, ExportCommand, RootGroup, RunCommand
from pruneaudit.cli.panels import PanelCommand
from pruneaudit.core.errors import RunError, UserError, printable

app = typer.Typer(
    name="pruneaudit",
    cls=RootGroup,
    help="Measure how much a network reveals about its training data, and how compression changes that.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(main_callback)
START, STUDIES, OWN, RESULTS, MAINTENANCE = "Start", "Studies", "Own models", "Results", "Maintenance"
"""The panels of commands, by what a user wants to do."""
app.command("demo", cls=PanelCommand, rich_help_panel=START)(demo.command)
app.command("list", cls=PanelCommand, rich_help_panel=START)(listing.command)
app.command("run", cls=RunCommand, rich_help_panel=STUDIES)(run.command)
app.command("choose", cls=PanelCommand, rich_help_panel=STUDIES)(choose.command)
app.command("attack", cls=PanelCommand, rich_help_panel=STUDIES)(attack.command)
app.add_typer(mia_prune.app, rich_help_panel=STUDIES)
app.add_typer(pruning_mia.app, rich_help_panel=STUDIES)
app.add_typer(compleak.app, rich_help_panel=STUDIES)
app.command("audit-model", cls=PanelCommand, rich_help_panel=OWN)(audit_model.command)
app.command("collect", cls=PanelCommand, rich_help_panel=OWN)(collect.command)
app.add_typer(canaries.app, rich_help_panel=OWN)
app.command("audit", cls=AuditCommand, rich_help_panel=OWN)(audit.command)
app.command("compress", cls=PanelCommand, rich_help_panel=OWN)(compress.command)
app.command("report", cls=PanelCommand, rich_help_panel=RESULTS)(report.command)
app.command("check", cls=check.BudgetCommand, rich_help_panel=RESULTS)(check.command)
app.command("frontier", cls=PanelCommand, rich_help_panel=RESULTS)(frontier.command)
app.command("families", cls=PanelCommand, rich_help_panel=RESULTS)(families.command)
app.command("claims", cls=PanelCommand, rich_help_panel=RESULTS)(claims.command)
app.command("power", cls=PanelCommand, rich_help_panel=RESULTS)(power.command)
app.command("records", cls=PanelCommand, rich_help_panel=RESULTS)(records.command)
app.command("figures", cls=PanelCommand, rich_help_panel=RESULTS)(figures.command)
app.command("export", cls=ExportCommand, rich_help_panel=RESULTS)(export.command)
app.command("verify", cls=PanelCommand, rich_help_panel=MAINTENANCE)(verify.command)
app.command("sanity-check", cls=PanelCommand, rich_help_panel=MAINTENANCE)(sanity_check.command)
app.command("clean", cls=PanelCommand, rich_help_panel=MAINTENANCE)(clean.command)
app.command("migrate", cls=PanelCommand, rich_help_panel=MAINTENANCE)(migrate.command)

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
GROUPS = ("canaries", "mia-prune", "pruning-mia", "compleak")
"""Commands with subcommands."""
GO_ON = (
    *("run", "choose", "demo", "audit-model", "attack", "mia-prune pretrain", "mia-prune prune", "mia-prune mia"),
    *("pruning-mia train", "pruning-mia run-experiment", "pruning-mia mia"),
)
"""Commands that keep finished parts and continue from there when repeated."""
ALL_OR_NOTHING = ("canaries make", "collect", "compress", "export", "pruning-mia export")
"""Commands that write all their files at the end."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 a task failed, 2 bad input, 130 interrupted."""
    atexit.register(gc.freeze)  # otherwise Python searches all of torch for garbage at exit, which takes a second
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = int(app(args=[_usual_form(argument) for argument in given], standalone_mode=False) or 0)
    except typer.TyperException as error:
        _complain(error.format_message())
        return EXIT_BAD_INPUT
    except UserError as error:
        _complain(str(error))
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader of the output has closed it, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except RunError as error:
        if error.details:
            print(printable(error.details, "\n\t"), file=sys.stderr)
        _complain(f"{error}; {_left(given)}")
        return EXIT_FAILED
    if code == EXIT_INTERRUPTED:  # typer can turn Ctrl-C into this code without a message
        _complain(f"interrupted; {_left(given)}")
    return code


def _left(arguments: list[str]) -> str:
    """Says what a command that ended early leaves behind, and what repeating it does."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    command = " ".join(words[: 2 if words[:1] and words[0] in GROUPS else 1])
    if command in GO_ON:
        return "finished parts are kept; run the same command again to continue"
    written = "nothing was written; " if command in ALL_OR_NOTHING else ""
    return f"{written}the same command starts from the beginning"


def _usual_form(argument: str) -> str:
    """Returns an option's usual spelling: `--prune_sparsity` as `--prune-sparsity`, `----adaptive` as `--adaptive`."""
    name, equals, value = argument.partition("=")
    letters = name.lstrip("-")
    if not letters or len(name) - len(letters) < 2:
        return argument
    return f"--{letters.replace('_', '-')}{equals}{value}"


def _complain(message: str) -> None:
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)
