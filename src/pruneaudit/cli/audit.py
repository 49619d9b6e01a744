"""`pruneaudit audit`: turns saved predictions into findings, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.arguments import families as parsed
from pruneaudit.cli.arguments import files_by_release, names, rates, sizes
from pruneaudit.cli.common import (
    ForceOption,
    OutputsOption,
    QuietOption,
    ShowRecordsOption,
    StepLine,
    check_results_folder,
    command_line,
    print_warnings,
)
from pruneaudit.cli.report import show
from pruneaudit.core.errors import UserError


def command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FILE...",
            help="Predictions: an .npz file with logits (or probabilities, or predicted), labels and member. Several "
            "files: releases of the same models, to be compared. A folder: the files that collect wrote into it.",
        ),
    ],
    attacks: Annotated[
        str, typer.Option("--attacks", help="Comma-separated names; groups: scores, all, advanced, wemem.")
    ] = "scores",
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--references",
            metavar="[NAME=]FILE",
            help="Predictions of other models, used as references: NAME=FILE for each release, or one file for all.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="The undefended dense release, with which the others are compared; default: dense.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            metavar="NAME=BYTES",
            help="Compressed size of a release, such as 241000 or 241kB, or the folder that compress wrote. Releases "
            "with a size are compared at equal size. Repeatable.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for findings and report.")] = Path("audit"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the folds and the bootstrap.")] = 0,
    fpr_levels: Annotated[
        str | None,
        typer.Option(
            "--fpr-levels",
            metavar="0.1,1%",
            help="Report the TPR at these false-positive rates; default: 10%, 1%, 0.1%.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of a single release in the report; default: the file's name.")
    ] = None,
    outputs: OutputsOption = None,
    family: Annotated[
        bool,
        typer.Option("--family", help="Also attack all releases together, and show what each one adds."),
    ] = False,
    families: Annotated[
        list[str] | None,
        typer.Option(
            "--families", metavar="dense,int8,...", help="Like --family, for some of the releases. Repeatable."
        ),
    ] = None,
    epsilon_thresholds: Annotated[
        str,
        typer.Option(
            "--epsilon-thresholds",
            metavar="NAME",
            help="How bounds on epsilon choose the number of guesses about canaries: bonferroni, or split (half of the"
            " canaries choose).",
        ),
    ] = "bonferroni",
    show_records: ShowRecordsOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings.json instead of a table.")] = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack models through their saved predictions, in seconds.

    Several releases of the same models: pruneaudit audit dense=dense.npz pruned=pruned.npz --baseline dense
    """
    from pruneaudit.api import PageSettings, PredictionFiles, audit_files
    from pruneaudit.core.machine import Here
    from pruneaudit.study.audit import DEFAULT_LEVELS

    check_results_folder(out, force)
    levels = DEFAULT_LEVELS if fpr_levels is None else rates("--fpr-levels", fpr_levels)
    others = files_by_release("--references", references) if references else None
    given = PredictionFiles(files_by_release("FILE", files), others, baseline, sizes("--size", size or []))
    page = PageSettings(command_line(), show_records=show_records or None)
    with StepLine(quiet) as line:
        machine = Here(progress=line)
        seen, together = names(outputs), _families(family, families)
        finished = audit_files(
            given,
            attacks,
            out,
            seed=seed,
            fpr_levels=levels,
            name=name,
            outputs=seen,
            families=together,
            epsilon_thresholds=epsilon_thresholds,
            page=page,
            runtime=machine,
        )
    print_warnings(finished.audit.results)
    show(finished.audit.results, finished.folder, finished.report, as_json)


def _families(is_one: bool, given: list[str] | None) -> list[tuple[str, ...]] | str:
    """The families of --family and --families.

    Raises:
        UserError: both were given.
    """
    from pruneaudit.study.families import ALL

    if is_one and given:
        raise UserError(f"got --family and --families {given[0]}, expected one of them; leave one out")
    return ALL if is_one else parsed(given)
