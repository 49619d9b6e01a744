"""How a run begins: the plan of a study that the user asks for, and what is written before the first training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, write_atomically, writing
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import draw_membership, write_membership
from pruneaudit.engine.plan import Plan, check_functions, check_plugins, make_plan
from pruneaudit.engine.sources import keep_sources
from pruneaudit.runs.audit_data import audit_data_to_run, changed_data
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from pruneaudit.study.differences import changed_settings

_MAY_DIFFER: Any = {
    "releases": True,
    "audit": True,
    "description": True,
    "keep_weights": True,
    "membership": {"num_models"},
}
"""Settings in which a study may go on from what is in its folder."""


def plan_study(study: Study, data_root: Path | None = None, folder: Path | None = None) -> tuple[Plan, AuditData]:
    """The plan of a study that the user asks for, and its audit data; a training function is imported.

    Args:
        study: the study.
        data_root: as for `pruneaudit.run`.
        folder: the run folder. It holds the audit data, where its source is gone.

    Raises:
        UserError: the study names something unknown, or its data are not there or do not suffice.
    """
    check_plugins(study)
    check_functions(study)
    audit_data = audit_data_to_run(study, folder, data_root)
    return make_plan(study, audit_data), audit_data


def begin(plan: Plan, study: Study, audit_data: AuditData, folder: Path) -> None:
    """Writes the study, the sources of its functions, and who is in whose training set, into the run folder.

    This function alone draws membership; later steps read the file.
    """
    splits = draw_membership(study, audit_data)
    with writing(folder):
        keep_sources(plan, folder)
        write_atomically(folder / STUDY_FILE, study.model_dump_json(indent=1) + "\n")
        write_membership(folder, splits, audit_data)


def replaced(study: Study, audit_data: AuditData, folder: Path) -> list[str]:
    """What leaves the findings of a run folder because another study, or other data, have been run there."""
    run = RunFolder(folder)
    if not run.is_begun:
        return []
    try:
        before = run.study
    except UserError:  # of another version, or damaged: it is replaced whatever it was
        return []
    new, old = (json.loads(each.model_dump_json(exclude=_MAY_DIFFER)) for each in (study, before))
    differing = [setting.key for setting in changed_settings(new, old)]
    if not differing:
        return changed_data(study, audit_data, folder)
    lost = [release.name for release in before.releases if release not in study.releases]
    leaving = f", and {', '.join(lost)} leave them" if lost else ""
    return [
        f"{folder} holds a study that differs in {', '.join(differing[:4])}: these findings replace its{leaving}; to"
        " keep both, give this one another --out or --set name=NAME"
    ]
