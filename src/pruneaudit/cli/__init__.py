"""The command line: one file per subcommand, nothing heavy imported before it is needed."""

from __future__ import annotations

import atexit
import gc
import os
import sys

import typer

from pruneaudit.cli import (
    attack,
    audit,
    check,
    clean,
    collect,
    demo,
    export,
    figures,
    frontier,
    listing,
    prune_model,
    report,
    run,
    selftest,
    steps,
    verify,
)
from pruneaudit.cli.common import main_callback
from pruneaudit.cli.grid_options import GridCommand
from pruneaudit.core.errors import RunError, UserError, printable

app = typer.Typer(
    name="pruneaudit",
    help="How much does a network give away about its training set, and what does pruning change about that?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(main_callback)
app.command("demo")(demo.command)
app.command("run", cls=GridCommand)(run.command)
app.command("pretrain", cls=steps.StepCommand)(steps.pretrain)
app.command("prune", cls=steps.StepCommand)(steps.prune)
app.command("mia", cls=steps.StepCommand)(steps.mia)
app.command("attack")(attack.command)
app.command("report")(report.command)
app.command("check")(check.command)
app.command("frontier")(frontier.command)
app.command("figures")(figures.command)
app.command("verify")(verify.command)
app.command("clean")(clean.command)
app.command("collect")(collect.command)
app.command("audit")(audit.command)
app.command("prune-model")(prune_model.command)
app.command("export")(export.command)
app.command("selftest")(selftest.command)
app.command("list")(listing.command)

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
GO_ON = ("run", "demo", "pretrain", "prune", "mia", "attack")
"""Commands that keep what was finished; repeated, they go on from there."""
ALL_OR_NOTHING = ("collect", "prune-model", "export")
"""Commands that write all their files at their end."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 a task failed, 2 bad input, 130 interrupted."""
    atexit.register(gc.freeze)  # else Python searches all of torch for garbage before it ends: a second of work
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
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except RunError as error:
        if error.details:
            print(printable(error.details, "\n\t"), file=sys.stderr)
        _complain(f"{error}; {_left(given)}")
        return EXIT_FAILED
    if code == EXIT_INTERRUPTED:  # typer may turn Ctrl-C into this code without a word
        _complain(f"interrupted; {_left(given)}")
    return code


def _left(arguments: list[str]) -> str:
    """What a command leaves behind when it ends early, and what it does when it is repeated."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command in GO_ON:
        return "what was finished is kept, and the same command goes on from there"
    written = "nothing was written, and " if command in ALL_OR_NOTHING else ""
    return f"{written}the same command begins anew"


def _usual_form(argument: str) -> str:
    """An option as it is named here: `--prune_sparsity` is `--prune-sparsity`, `----adaptive` is `--adaptive`."""
    name, equals, value = argument.partition("=")
    letters = name.lstrip("-")
    if not letters or len(name) - len(letters) < 2:
        return argument
    return f"--{letters.replace('_', '-')}{equals}{value}"


def _complain(message: str) -> None:
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)
