"""The results of a run that is finished and was not changed since: what may be judged and compared."""

from __future__ import annotations

from pathlib import Path

from pruneaudit.auditing.outcome import SCORES_FILE
from pruneaudit.errors import UserError
from pruneaudit.files import SEALED_FILES, check_sealed
from pruneaudit.results import RESULT_FILES, Results


def finished_results(folder: Path) -> Results:
    """The results of a run folder whose list of checksums is there, names every file of results, and is right.

    Scores that were removed, to save room, are no change of the results; scores that differ are one.

    Raises:
        UserError: the folder holds no finished run, or one that has changed.
    """
    check_is_folder(folder)
    problems = check_sealed(folder)
    unsealed = problems[SEALED_FILES] or next((f"does not list {n}" for n in RESULT_FILES if n not in problems), "")
    wrong = (SEALED_FILES, unsealed)
    if not unsealed and (folder / SCORES_FILE).exists():
        wrong = (SCORES_FILE, problems.get(SCORES_FILE, ""))
    if wrong[1]:
        raise UserError(f"{folder}: {' '.join(wrong)}; expected a finished run (run the study again: it mends this)")
    return Results.load_sealed(folder)


def check_is_folder(folder: Path) -> None:
    """Refuses the folder of a run that is not there.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected that of a finished run, such as runs/demo")
