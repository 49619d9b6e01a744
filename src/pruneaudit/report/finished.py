"""The results of a run that is finished and was not changed since: what may be judged and compared."""

from __future__ import annotations

from pathlib import Path

from pruneaudit.auditing.outcome import SCORES_FILE
from pruneaudit.errors import UserError
from pruneaudit.files import check_sealed
from pruneaudit.results import Results, changed


def finished_results(folder: Path) -> Results:
    """The results of a run folder whose list of checksums is there, names every file of results, and is right.

    Scores that were removed, to save room, are no change of the results; scores that differ are one.

    Raises:
        UserError: the folder holds no finished run, or one that has changed.
    """
    check_is_folder(folder)
    results = Results.load_sealed(folder)
    problem = check_sealed(folder, if_there=(SCORES_FILE,)).get(SCORES_FILE, "")
    if problem and (folder / SCORES_FILE).exists():
        raise changed(folder, SCORES_FILE, problem)
    return results


def check_is_folder(folder: Path) -> None:
    """Refuses the folder of a run that is not there.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected that of a finished run, such as runs/demo")
