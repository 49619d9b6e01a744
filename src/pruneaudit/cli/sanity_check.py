"""`pruneaudit sanity-check`: checks that the attacks work, on data with known answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import DataRootOption, QuietOption, StepLine
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from pruneaudit.evaluation.sanity_check import SanityCheck, Trial
    from pruneaudit.metrics import Estimate


def command(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a run: also test on its stored signals, with membership redrawn."),
    ] = None,
    attacks: Annotated[str, typer.Option("--attacks", help="Comma-separated names, or all.")] = "all",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the made-up predictions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object instead of tables.")] = False,
    quiet: QuietOption = False,
    data_root: DataRootOption = None,
) -> None:
    """Check that the attacks work, on data with known answers.

    They must find planted members, and nothing where membership is random.
    """
    from pruneaudit.evaluation.sanity_check import check_attacks

    with StepLine(quiet or not sys.stderr.isatty()) as line:
        if run is None:
            found = check_attacks(attacks.split(","), seed, say=line.say)
        else:
            from pruneaudit.api import sanity_check

            found = sanity_check(run, attacks.split(","), seed, data_root, line.say)
    if not show(found, seed, as_json):
        raise typer.Exit(1)


def show(found: SanityCheck, seed: int, as_json: bool = False) -> bool:
    """Prints the results, and on stderr the attacks that failed; returns whether all passed."""
    if as_json:
        print(json.dumps(found.as_json(), indent=1, allow_nan=False))
    else:
        for number, trial in enumerate(found.trials):
            print(end="\n" if number else "")
            _print(trial)
    failed = [f"{v.attack} ({v.problem}: {v.reason})" for trial in found.trials for v in trial.failed]
    if failed:
        print(printable("error: " + " ".join(f"sanity check: {'; '.join(failed)}".split())), file=sys.stderr)
        return False
    if not as_json:
        num_attacks = len(found.trials[0].verdicts)
        print(f"\nall {num_attacks} attacks that could be tested work (seed {seed})")
    return True


def _print(trial: Trial) -> None:
    """Prints a line per attack, then the attacks that could not be tested."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    title = f"{trial.name}: {trial.num_models} models, {trial.num_samples} samples; mean AUC [95% interval]"
    console.print(Text(title), highlight=False)  # not the table's title, which would be folded to the table's width
    console.print(_table(trial), highlight=False)
    for attack, lack in trial.not_tested.items():
        console.print(Text(f"not tested: {attack}: needs {lack}"), highlight=False)


def _table(trial: Trial) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    has_planted = any(verdict.planted is not None for verdict in trial.verdicts)
    table.add_column("Attack", overflow="fold")
    for header in ("Nothing to find", *(["Members planted"] if has_planted else [])):
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("Verdict", overflow="fold")
    for verdict in trial.verdicts:
        played = [verdict.null, *([verdict.planted] if has_planted else [])]
        style = "bold red" if verdict.problem else ""
        cells = [verdict.attack, *(_figure(part.auc if part else None) for part in played), verdict.problem or "works"]
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _figure(auc: Estimate | None) -> str:
    return "-" if auc is None or auc.value != auc.value else f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
