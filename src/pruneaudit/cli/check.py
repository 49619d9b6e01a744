"""`pruneaudit check`: compares a run with leakage budgets, as a gate for continuous integration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.panels import PanelCommand
from pruneaudit.cli.report import write_text
from pruneaudit.core.errors import UserError, printable

OPTIONS, BUDGETS = "pruneaudit.budget_options", "pruneaudit.budgets"
"""Keys of the command context: the budget options, and the given budgets by their Python names."""
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Environment variable with the file that GitHub Actions shows on the page of a job."""


class BudgetCommand(PanelCommand):
    """A command with a budget option for every metric; metrics are imported only when the command is used."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the arguments, the budgets, then all other options."""
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        others = [param for param in super().get_params(ctx) if param not in arguments]
        if OPTIONS not in ctx.meta:  # called several times: every call must return the same objects
            ctx.meta[OPTIONS] = _budget_options()
        return [*arguments, *ctx.meta[OPTIONS], *others]


def _budget_options() -> tuple[Any, ...]:
    """Makes one option per budget: typer builds them from a function with these parameters."""
    from pruneaudit.gate import budget_options

    def budgets() -> None:
        """Never called."""

    parameters = []
    for key, (_, option) in budget_options().items():
        given = typer.Option(
            option.flag,
            metavar=option.metavar,
            help=option.help,
            expose_value=False,
            callback=_keep,
            show_default=False,
        )
        annotation = Annotated[list[str] | None if option.by_level else str | None, given]  # type: ignore[valid-type]
        parameters.append(Parameter(key, Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    budgets.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(budgets)
    return tuple(typer.main.get_command(app).params)


def _keep(context: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Stores a budget in the context, because the command's signature cannot list it."""
    if value is not None and value != []:
        context.meta.setdefault(BUDGETS, {})[param.name] = value


def command(
    context: typer.Context,
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN | CERTIFICATE",
            help="The folder of a finished run, such as runs/demo; or certificate.json of `choose`.",
        ),
    ],
    attack: Annotated[
        str | None, typer.Option("--attack", help="Check this attack only; default: every attack of the run.")
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(
            "--release", help="Check this release; default: dense and all compressed or defended ones. Repeatable."
        ),
    ] = None,
    references: Annotated[
        str, typer.Option("--references", help="Kind of references, such as matched; default: every kind of the run.")
    ] = "any",
    min_accuracy: Annotated[
        str | None,
        typer.Option("--min-accuracy", metavar="RATE", help="With a certificate: lowest accuracy, such as 0.75."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="STUDY", help="With a certificate: the study that it must be about."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.md", help="Also write the summary to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the summary.")] = False,
) -> None:
    """Compare a run with leakage budgets, as a gate for CI.

    Exit code 0: every figure is within its budget; 1: at least one is not shown to be; 2: bad input, or a suppressed
    figure. A certificate without budgets is checked against its own limits.
    """
    if out is not None and out.suffix != ".md":
        raise UserError(f"--out: got '{out}', expected a file name that ends in .md (the summary is Markdown)")
    given = context.meta.get(BUDGETS, {})
    if run.suffix == ".json":
        if attack is not None or release or references != "any":
            raise UserError(
                "--attack, --release, --references: got them with a certificate, which names its own; leave them out"
            )
        summary, record, code = _of_certificate(run, given, min_accuracy, study)
    else:
        if min_accuracy is not None or study is not None:
            raise UserError(
                f"--min-accuracy, --study: need a certificate of pruneaudit choose, got the run {run}; give its"
                f" {Path('choice') / 'certificate.json'}, or leave them out"
            )
        summary, record, code = _of_run(run, given, attack, release or (), references)
    if out is not None:
        write_text(out, summary)
    print(json.dumps(record, indent=1, allow_nan=False) if as_json else summary.rstrip("\n"))
    _add_to_step_summary(summary)
    raise typer.Exit(code)


def _of_run(
    run: Path, given: dict[str, Any], attack: str | None, releases: Sequence[str], references: str
) -> tuple[str, dict[str, Any], int]:
    """Returns summary, JSON data and exit code of a run."""
    from pruneaudit.gate import as_markdown, as_record, budgets_of, check
    from pruneaudit.runs import RunFolder

    results = RunFolder(run).results()
    gate = check(results, budgets_of(results, **given), attack, releases, references)
    return as_markdown(gate, str(run)), as_record(gate, str(run)), gate.exit_code


def _of_certificate(
    file: Path, given: dict[str, Any], min_accuracy: str | None, study: Path | None
) -> tuple[str, dict[str, Any], int]:
    """Returns summary, JSON data and exit code of a certificate."""
    from pruneaudit.choosing.setting_up import hash_of_file
    from pruneaudit.gate import certificate_markdown, certificate_record, check_certificate, read_certificate

    certificate, notes = read_certificate(file)
    expected = "" if study is None else hash_of_file(str(study))
    gate = check_certificate(certificate, expected, notes, min_accuracy=min_accuracy, **given)
    return certificate_markdown(gate, str(file)), certificate_record(gate, str(file)), gate.exit_code


def _add_to_step_summary(summary: str) -> None:
    """Appends the summary to the job's page; only warns where that fails, so that the verdict is kept."""
    place = os.environ.get(STEP_SUMMARY)
    if not place:
        return
    try:
        with Path(place).open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{summary}\n")
    except OSError as error:
        what = f"warning: {STEP_SUMMARY}: cannot write to {place} ({error.strerror or error})"
        print(printable(what), file=sys.stderr)
