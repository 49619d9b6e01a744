"""Maintains a finished run: checks its files, removes unneeded ones, and tests the attacks on its stored signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from pruneaudit.api.running import MIN_MODELS
from pruneaudit.attacks.groups import ALL
from pruneaudit.choosing.files import ChoiceFolder
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SEALED_FILES, writing
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.evaluation.sanity_check import SanityCheck, check_attacks
from pruneaudit.runs.audit_data import held_sha256
from pruneaudit.runs.clean import Leftover, leftovers, remove
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.trials import with_trials
from pruneaudit.runs.verify import Checked, checked_files
from pruneaudit.study import DENSE


def verify(folder: str | Path, data_root: str | Path | None = None) -> list[Checked]:
    """Checks every file of a run; changes nothing.

    Args:
        folder: the run's folder.
        data_root: as for `run`.

    Raises:
        UserError: the folder is not a run, or its data are missing.

    Example:
        >>> {part.state for part in pruneaudit.verify("runs/first")}
        {'whole'}
    """
    run = RunFolder.open(folder)
    plan, audit_data = run.planned(data_root=Path(data_root) if data_root else None, whole=False)
    checked = checked_files(with_trials(run, plan, audit_data), run.store, run.problems())
    choice = ChoiceFolder(run.path)
    if not choice.is_begun:
        return checked
    if not (run.path / SEALED_FILES).exists():  # only a choice was made: it needs no model of any other release
        checked = [part for part in checked if part.state != "missing"]
    parts = choice.problems().items()
    return [*checked, *(Checked(place, "damaged" if problem else "whole", problem) for place, problem in parts)]


def clean_run(folder: str | Path, dry_run: bool = False) -> list[Leftover]:
    """Removes files that the study does not need from a run folder; keeps results and their artifacts.

    Args:
        folder: the run's folder.
        dry_run: remove nothing.

    Returns:
        The files that were removed, or would be.

    Raises:
        UserError: the folder is not a run, another run uses it, or it has no record of which data belong to it.
    """
    run = RunFolder.open(folder)
    if not held_sha256(run.path):
        raise UserError(
            f"{run.path}: the run is not finished, so it is unknown which data it needs; finish it first, with:"
            f" {run.finish_command}"
        )
    with nullcontext() if dry_run else RunLock(run.path):
        found = leftovers(with_trials(run, *run.planned(whole=False)), run.store)
        if not dry_run:
            with writing(run.path):
                remove(found, run.store)
    return found


def sanity_check(
    folder: str | Path,
    attacks: Sequence[str] = (ALL,),
    seed: int = 0,
    data_root: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SanityCheck:
    """Tests the attacks on data with known answers, also on stored signals of a run's dense models; changes nothing.

    Args:
        folder: the run's folder.
        attacks: names such as "lira:mode=offline"; default: every registered attack.
        seed: the seed of simulated predictions and redrawn membership.
        data_root: as for `run`.
        say: called with a text for each step.

    Raises:
        UserError: an attack is unknown, or the folder is not a run or has signals of fewer than two dense models.

    Example:
        >>> pruneaudit.sanity_check("runs/first", ["loss"]).passed
        True
    """
    run = RunFolder.open(folder)
    plan, audit_data = run.planned(data_root=Path(data_root) if data_root else None)
    tasks = plan.of("signals", DENSE)
    missing = {task.model_id for task in tasks if run.store.status(task.artifact)[0] != "whole"}
    left_out = without_broken_groups(plan.study.membership, missing)
    if len(tasks) - len(left_out) < MIN_MODELS:
        raise UserError(
            f"{run.path}: got signals of {len(tasks) - len(left_out)} dense models, expected {MIN_MODELS} or more;"
            f" finish the run with: {run.finish_command}"
        )
    signals = run.signals(plan, audit_data, DENSE, left_out)
    return check_attacks(attacks, seed, signals, f"{plan.study.name}, membership redrawn", say)
