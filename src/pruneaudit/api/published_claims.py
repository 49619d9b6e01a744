"""Judges published claims on finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pruneaudit.api.added_later import Figures, stored
from pruneaudit.claims.judge import DECIDING, Judged, judge
from pruneaudit.claims.markdown import document
from pruneaudit.claims.rule import NOT_TESTED
from pruneaudit.claims.verdicts import Line, lines
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing
from pruneaudit.core.machine import HERE, Machine

TABLE_FILE, PAGE_FILE = "claims.csv", "claims.md"


@dataclass(frozen=True, eq=False)
class Claims:
    """The verdicts on published claims.

    Example:
        >>> found = pruneaudit.judge_claims(["runs/first"])  # doctest: +SKIP
        >>> found.lines[0].overall  # doctest: +SKIP
        'not shown'
    """

    table: pd.DataFrame
    """A row per comparison: what was compared under which attack, the difference of AUCs with its interval, and the
    verdict it gives."""
    folder: Path | None = None
    """The folder with claims.csv and claims.md; None if they were not written."""

    @property
    def lines(self) -> list[Line]:
        """The verdicts on every claim."""
        return lines(self.table)


def judge_claims(runs: Sequence[str | Path], out: str | Path | None = None, runtime: Machine = HERE) -> Claims:
    """Judges published claims about compression and membership inference on finished runs; trains no network.

    Releases are chosen by what they are, not by their names, so any finished run can be judged. What a run lacks for a
    claim is said in the column `note`.

    Args:
        runs: the folders of finished runs, one per data set. Their intervals hold simultaneously.
        out: a folder for claims.csv and claims.md; default: nothing is written.
        runtime: its `progress` shows every claim; its `data_root` is as for `attack`.

    Raises:
        UserError: a folder has no finished run, two folders have the same name, or no claim can be judged on any.

    Example:
        >>> found = pruneaudit.judge_claims(["runs/first"])  # doctest: +SKIP
        >>> found.table.query("part == 'deciding'")[["claim", "verdict"]]  # doctest: +SKIP
    """
    folders = [Path(run) for run in runs]
    names = [folder.resolve().name for folder in folders]
    if not names:
        raise UserError("got no run, expected the folders of finished runs, such as runs/claims-fashion")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"got two runs called '{twice}', expected a different name for each; rename one folder")
    parts = []
    for folder, name in zip(folders, names, strict=True):
        with stored(folder, None, Figures("claims"), runtime) as given:
            assert given.plan is not None  # a run has one
            run = Judged(name, given.plan.study, given.settings)
            parts.append(judge(run, len(folders), runtime.progress.say))
    table = pd.concat(parts, ignore_index=True)
    deciding = table[table["part"] == DECIDING]
    if (deciding["verdict"] == NOT_TESTED).all():
        first = deciding.iloc[0]
        raise UserError(
            f"{folders[0]}: no claim can be judged ({first['note']}); expected a run with compressed or defended"
            " releases and their references, such as: pruneaudit run claims-fashion"
        )
    return Claims(table, None if out is None else _written(table, Path(out)))


def _written(table: pd.DataFrame, folder: Path) -> Path:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / TABLE_FILE, table.to_csv(index=False, lineterminator="\n"))
        write_atomically(folder / PAGE_FILE, document(table))
    return folder
