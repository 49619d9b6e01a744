"""Runs attacks on the stored signals of runs, and writes Pruning_MIA's tables: `--attacks lira | advanced | wemem`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.api import Run, Runtime, attack
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE
from pruneaudit.published.finished import Finished, load_runs
from pruneaudit.published.pruning_mia import same_study
from pruneaudit.published.pruning_mia_tables import write_tables
from pruneaudit.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The results of an evaluation, and its tables."""

    runs: tuple[Run, ...]
    """Findings and report of each run, in separate folders; the run folders keep their own."""
    tables: tuple[Path, ...]


def evaluate(
    runs: Sequence[str | Path],
    attacks: Sequence[str],
    results_dir: str | Path | None = None,
    runtime: Runtime | None = None,
    command: str = "",
) -> Evaluated:
    """Runs attacks on the stored signals of finished runs; trains no network.

    The run folders keep their own findings. The results go to `results_dir`: one folder per run with findings and
    report, and the tables of all runs beside them.

    Args:
        runs: run folders; several of one study are its seeds.
        attacks: names or groups, such as "lira" or "advanced".
        results_dir: the folder for results; default: results/ATTACKS in the first run's folder.
        runtime: as for `attack`.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: a folder is not a finished run, signals are missing, or an attack is unknown.
    """
    folders, runtime = [Path(run) for run in runs], runtime or Runtime()
    named = re.sub(r"[^A-Za-z0-9._=-]+", "_", "+".join(attacks))[:80]
    place = Path(results_dir) if results_dir else folders[0] / "results" / named
    before = load_runs(folders)  # checks all runs before the first attack
    played = []
    for folder in folders:
        runtime.progress.say(f"{folder}: {', '.join(attacks)}")
        to = place / folder.resolve().name
        played.append(attack(folder, list(attacks), to, runtime, command))
    after = [
        Finished(run.folder, run.plan, run.audit_data, again.audit.results)
        for run, again in zip(before, played, strict=True)
    ]
    return Evaluated(tuple(played), write_tables(after, place))


def runs_in(folder: Path) -> list[list[Path]]:
    """Returns the runs in a folder, grouped by study: seeds of one study together.

    Args:
        folder: the folder of one run, or of several such as runs/.

    Raises:
        UserError: there is no run.
    """
    if (folder / STUDY_FILE).is_file():
        return [[folder]]
    groups: list[list[Path]] = []
    for file in sorted(folder.glob(f"*/{STUDY_FILE}")):
        study = RunFolder.open(file.parent).study
        alike = (group for group in groups if same_study(RunFolder.open(group[0]).study, study, but=("name", "seed")))
        seeds = next(alike, None)
        if seeds is None:
            groups.append([file.parent])
        else:
            seeds.append(file.parent)
    if not groups:
        raise UserError(f"{folder}: contains no run; expected the folder of a run, or of several, such as runs")
    return groups
