"""`pruneaudit frontier`: shows leakage against accuracy, at equal accuracy and at equal size."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    ExecutorOption,
    JobsOption,
    OutOption,
    QuietOption,
    VerboseOption,
    WaitOption,
    command_line,
    progress_for,
)
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    from rich.text import Text

    from pruneaudit.evaluation.results import Results
    from pruneaudit.metrics import Metric
    from pruneaudit.report.quantities import Quantity
    from pruneaudit.report.tables.equal_accuracy import FrontierTable


SHORT = {"tpr_at_fpr": "tpr"}
"""Short names of metrics for this command."""


def command(
    study: Annotated[
        str, typer.Argument(metavar="STUDY_OR_RUN", help="The folder of a finished run, a study file, or a recipe.")
    ],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="auc, tpr (at 1% FPR, otherwise at the lowest), or another (see: pruneaudit list metrics).",
        ),
    ] = "auc",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead of a table.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the study. Repeatable."),
    ] = None,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    wait: WaitOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare releases of equal accuracy, and of equal size.

    At equal accuracy, each release is compared with undefended dense networks. A study or recipe is run first.
    """
    if metric not in (known := _choices()):
        raise UserError(f"--metric: got '{metric}', expected one of: {', '.join(known)}")
    failures: tuple[str, ...] = ()
    if _is_folder(study):
        if set_:
            raise UserError(f"--set: changes a study before it runs, but {study} is a finished run; leave it out")
        from pruneaudit.runs import RunFolder

        results = RunFolder(study).results()
    else:
        where = {"executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
        results, failures = _run(study, set_ or [], out, where, quiet, verbose)
    quantity = _quantity(results, metric, study)
    if as_json:
        print(json.dumps(_records(results, quantity), indent=1, allow_nan=False))
    else:
        _print_table(results, quantity)
    if failures:
        first = printable(failures[0])
        print(f"error: tasks failed: {len(failures)}, first: {first} (see the report)", file=sys.stderr)
        raise typer.Exit(1)


def _choices() -> dict[str, Metric]:
    """Returns the metrics that the frontier can show, by name (by short name where there is one)."""
    from pruneaudit.metrics import METRICS

    found = {name: METRICS.get(name) for name in METRICS.names()}
    return {SHORT.get(name, name): metric for name, metric in found.items() if not metric.needs_threshold}


def _is_folder(given: str) -> bool:
    try:
        return Path(given).is_dir()
    except (OSError, ValueError):  # not a possible file name, or too long for one
        return False


def _run(
    study: str, changes: list[str], out: Path, where: dict[str, Any], quiet: bool, verbose: bool
) -> tuple[Results, tuple[str, ...]]:
    from pruneaudit.api import PageSettings, Runtime, run
    from pruneaudit.study.recipes import load_recipe_or_file

    chosen = load_recipe_or_file(study, changes)
    with progress_for(quiet, verbose) as progress:
        runtime = Runtime(**where, progress=progress)
        finished = run(chosen, out, runtime, PageSettings(command_line()))
    return finished.audit.results, finished.failures


def _quantity(results: Results, metric: str, study: str) -> Quantity:
    """Returns the metric to show; of several false-positive rates, the one that summaries show."""
    from pruneaudit.report.quantities import headline_tpr
    from pruneaudit.report.tables.equal_accuracy import frontier_metrics

    found = frontier_metrics(results)
    if not found:
        raise UserError(
            f"{study}: no release has both a test accuracy and an AUC of the primary attack with references 'matched'; "
            "expected a study whose audit runs that attack"
        )
    columns, chosen = [quantity.column for quantity in found], _choices()[metric]
    quantities = chosen.among(columns)
    if not quantities:
        of_it = results.frontier["metric"].map(lambda column: bool(chosen.among([column])))
        refused = results.frontier.loc[of_it, "suppressed"]
        why = next((text for text in refused if text), "the study reports no TPR at 1% or 0.1% FPR")
        raise UserError(f"--metric {metric}: no release has a figure ({why}); use --metric auc")
    return quantities[0] if len(quantities) == 1 else headline_tpr(columns) or quantities[0]


def _records(results: Results, quantity: Quantity) -> list[dict[str, Any]]:
    """Returns the rows of one metric as JSON data, NaN as null."""
    rows = results.frontier[results.frontier["metric"] == quantity.column].to_dict("records")
    return [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in rows
    ]


def _print_table(results: Results, quantity: Quantity) -> None:
    """Prints a row per release, intervals below their values; then the reasons for missing values."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from pruneaudit.report.tables.cells import Cell
    from pruneaudit.report.tables.equal_accuracy import frontier_table

    found = frontier_table(results, (quantity,))
    assert found is not None  # `_quantity` found a figure
    console = Console()
    title = _text(f"Attack: {found.attack}; references: {found.references}; value [95% interval]")
    printed = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("Release", overflow="fold")
    at_size = ["At equal size"] if found.with_sizes else []
    for column in ("Test accuracy", quantity.title, "At equal accuracy", *at_size):
        printed.add_column(column, justify="right", overflow="fold")

    def figure(cell: Cell, remark: str = "") -> Text:
        lines = [cell.value, cell.interval, remark] if cell.value else [f"- ({cell.note})"]
        return _text("\n".join(line for line in lines if line))

    for line in found.lines:
        item = line.compared[0]
        figures = (
            figure(line.accuracy),
            figure(item.leakage, "dominated" if item.dominated else ""),
            figure(item.difference, f"minus {item.against}") if item.against != line.release else _text("a baseline"),
            *([figure(item.at_size, f"minus {item.size_against}")] if item.at_size else []),
        )
        size = line.size.replace("\u00a0", " ") if found.with_sizes else ""
        sized = f"{line.release}\n{size}" if size else line.release
        printed.add_row(_text(sized), *figures, style="dim" if item.dominated else None)
    console.print(printed)
    for number, reason in enumerate(found.notes, start=1):
        console.print(_text(f"({number}) {reason}"), style="dim")
    console.print(_text(_words(found)))


def _words(found: FrontierTable) -> str:
    """Returns the sentences below the table: what was compared, and how far it holds."""
    compared = f"the least leaking of {found.num_baselines} undefended dense releases at least as accurate"
    only = "the one undefended dense release, where it is at least as accurate"
    others = "other" if found.all_are_candidates else "other undefended"
    of_size = f" At equal size: the least leaking of the {others} releases that are at least as accurate and as small."
    few = " So few networks: intervals are conditional on this bank." if found.conditional else ""
    return (
        f"Compared with {only if found.num_baselines == 1 else compared}.{of_size if found.with_sizes else ''}{few} "
        "These results do not generalise beyond this study."
    )


def _text(given: str) -> Text:
    from pruneaudit.report.escaping import terminal_text

    return terminal_text(given, keep="\n")
