"""The trials of a search in a run folder: artifacts of candidates that are not releases of the study."""

from __future__ import annotations

from dataclasses import replace

from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan, make_plan
from pruneaudit.engine.sources import recorded_sources
from pruneaudit.runs.folder import RunFolder


def with_trials(run: RunFolder, plan: Plan, audit_data: AuditData) -> Plan:
    """Returns the plan of a run's study, with the tasks of candidates whose artifacts are in the folder.

    Args:
        run: the folder.
        plan: the plan of its study.
        audit_data: its audit data.
    """
    study = run.study
    if study.choose is None:
        return plan
    taken = {release.name for release in study.releases}
    more = [candidate.release for candidate in study.choose.candidates if candidate.name not in taken]
    attacks = {attack.label: attack for attack in (*study.audit.attacks, *study.choose.attacks)}
    audit = study.audit.model_copy(update={"attacks": tuple(attacks.values())})
    whole = study.model_copy(update={"releases": (*study.releases, *more), "audit": audit})
    known = {task.artifact.folder for task in plan.tasks}
    tried = make_plan(whole, audit_data, recorded_sources(run.path), is_whole=False)
    found = [t for t in tried.tasks if t.artifact.folder not in known and run.store.path(t.artifact).exists()]
    return replace(plan, tasks=(*plan.tasks, *found))
