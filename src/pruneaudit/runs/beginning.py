"""The start of a run: plans the study, and writes the files that must exist before the first training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, write_atomically, writing
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import draw_membership, write_membership
from pruneaudit.data.splits import Splits
from pruneaudit.engine.plan import Plan, check_functions, check_plugins, make_plan
from pruneaudit.engine.sources import keep_sources, recorded_sources
from pruneaudit.engine.target_files import on_disk_or, source_on_disk
from pruneaudit.runs.audit_data import audit_data_to_run, changed_data, settled
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from pruneaudit.study.differences import changed_settings

_MAY_DIFFER: Any = {
    "releases": True,
    "audit": True,
    "choose": True,
    "description": True,
    "keep_weights": True,
    "membership": {"num_models"},
    "target": {"num_references"},
}
"""Settings that can change between runs in the same folder without losing its models."""


def plan_study(study: Study, data_root: Path | None = None, folder: Path | None = None) -> tuple[Plan, AuditData]:
    """Returns the plan of a study and its audit data; imports the user's training function.

    Args:
        study: the study.
        data_root: as for `pruneaudit.run`.
        folder: the run folder; its copy of the audit data is used if the source is missing.

    Raises:
        UserError: the study names something unknown, or its data are missing or too few.
    """
    check_plugins(study)
    check_functions(study)
    audit_data = audit_data_to_run(study, folder, data_root)
    hashes = source_on_disk if folder is None else on_disk_or(recorded_sources(folder))
    return make_plan(settled(study, audit_data), audit_data, hashes), audit_data


def begin(plan: Plan, study: Study, audit_data: AuditData, folder: Path) -> Splits:
    """Writes the study, the sources of its functions, and the membership of all models into the run folder.

    Only this function draws membership; later steps read the file.

    Returns:
        The membership.
    """
    splits = draw_membership(study, audit_data)
    with writing(folder):
        keep_sources(plan, folder)
        write_atomically(folder / STUDY_FILE, study.model_dump_json(indent=1) + "\n")
        write_membership(folder, splits, audit_data)
    return splits


def replaced(study: Study, audit_data: AuditData, folder: Path) -> list[str]:
    """Returns a warning if this run replaces the findings of another study, or of other data, in the folder."""
    run = RunFolder(folder)
    if not run.is_begun:
        return []
    try:
        before = run.study
    except UserError:  # damaged, or of another version: it is replaced anyway
        return []
    new, old = (json.loads(each.model_dump_json(exclude=_MAY_DIFFER)) for each in (study, before))
    differing = [setting.key for setting in changed_settings(new, old)]
    if not differing:
        return changed_data(study, audit_data, folder)
    lost = [release.name for release in before.releases if release not in study.releases]
    leaving = f" (without {', '.join(lost)})" if lost else ""
    return [
        f"{folder} has a study that differs in {', '.join(differing[:4])}; its findings are replaced{leaving}; to "
        f"keep both, give the new study another --out or --set name=NAME"
    ]
