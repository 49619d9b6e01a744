"""`pruneaudit audit`: from saved predictions to findings, without any training."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import command_line, print_warnings
from pruneaudit.cli.report import show


def command(
    file: Annotated[Path, typer.Argument(help="Predictions, .npz with logits, labels, member (see the README).")],
    attacks: Annotated[
        str, typer.Option("--attacks", help="Names, comma-separated; groups: scores, all, advanced, wemem.")
    ] = "scores",
    references: Annotated[
        Path | None,
        typer.Option("--references", help="Predictions of other models, used as references."),
    ] = None,
    paired: Annotated[
        Path | None,
        typer.Option("--paired", help="Predictions of the same models in another public release."),
    ] = None,
    paired_references: Annotated[
        Path | None,
        typer.Option("--paired-references", help="Predictions of the references in that other release."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for findings and report.")] = Path("audit"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of folds and bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings.json instead of a table.")] = False,
) -> None:
    """Attack models by their saved predictions: findings and report in seconds."""
    from pruneaudit.api import audit_files

    if references is None:
        _check_has_out_models(attacks, file)
    finished = audit_files(file, attacks, references, paired, paired_references, out, seed, command_line())
    print_warnings(finished.audit.results)
    show(finished.audit.results, finished.folder, finished.report, as_json)


def _check_has_out_models(attacks: str, file: Path) -> None:
    """Refuses attacks that compare with references where all models of a file have one training set.

    Raises:
        UserError: there are such attacks; the message names those that can be played.
    """
    num_models = _num_trained_alike(file)
    if num_models < 2:
        return
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.groups import expand
    from pruneaudit.auditing.lineup import named
    from pruneaudit.errors import UserError

    asked = expand(named(attacks.split(",")))
    comparing = [plugin.label for plugin in asked if "references" in ATTACKS.get(plugin.name).needs]
    if comparing:
        alone = [name for name in ATTACKS.names() if not ATTACKS.get(name).needs]
        raise UserError(
            f"{file}: all {num_models} models were trained on the same samples, so no sample has a model trained"
            f" without it (an OUT model), and what compares with references ({', '.join(comparing)}) has nothing to"
            " tell members by; give models of other training sets, here or with --references, or play what needs none:"
            f" --attacks {','.join(alone)}"
        )


def _num_trained_alike(file: Path) -> int:
    """How many models a file holds if all have one training set, otherwise 0.

    Only that one array is read. What is wrong with the file is said when all of it is.
    """
    import numpy as np

    try:
        with file.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                return 0
            with np.load(stream, allow_pickle=False) as archive:
                member = np.atleast_2d(archive["member"])
    except Exception:  # a damaged archive raises anything from zlib.error to NotImplementedError
        return 0
    alike = (member == member[:1]).all() and not (member == member[:, :1]).all()
    return len(member) if alike else 0
