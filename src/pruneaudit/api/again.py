"""Reuses a finished run: runs other attacks on its stored signals, and rewrites its report from its findings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruneaudit.api.runtime import Runtime
from pruneaudit.api.writing import Run, made_private, write_up
from pruneaudit.attacks.groups import expand
from pruneaudit.attacks.primary import Primary, attack_by_rule
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, seal_again
from pruneaudit.core.options import validated
from pruneaudit.engine.assemble import audit_study, study_settings
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.learning import Players, learn
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.scheduler import missing_tasks
from pruneaudit.engine.shaping_check import shaping_checks
from pruneaudit.evaluation.outputs import parsed_outputs
from pruneaudit.evaluation.recorded_checks import SANITY_CHECK_RUN, record_sanity_checks
from pruneaudit.evaluation.results import Results
from pruneaudit.evaluation.shaping_samples import SHAPING
from pruneaudit.report.page.html import write_report
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.names import PLANNED_BY, RELEASE_FILE, REPORT_FILE, SEALED_ALWAYS, SEALED_IF_THERE
from pruneaudit.runs.provenance import study_provenance, with_target
from pruneaudit.study import Study

SEPARATE = {
    "sensitivity": "sensitivity",
    "forgetting": "copies trained further",
    "start_saliency": "comparisons with gradients at the start",
}
"""By kind of task: what a run makes only for the attacks that need it."""


def attack(
    folder: str | Path,
    attacks: list[str],
    out: str | Path | None = None,
    runtime: Runtime | None = None,
    command: str = "",
    outputs: Sequence[str] | None = None,
) -> Run:
    """Runs other attacks on the stored signals of a run; trains no network of the study.

    Args:
        folder: the run's folder.
        attacks: names such as "rmia" or "lira:mode=offline".
        out: the folder for findings and report; default: the run's folder.
        runtime: the machine for attacks that learn, and the progress display; its `data_root` is used only if the
            run's own copy of the data is damaged.
        command: the command line that repeats this, for the report.
        outputs: reduced outputs to attack as well, such as "round:2" or "label"; default: the study's `audit.outputs`.

    Raises:
        UserError: the folder is not a run, signals are missing, or an attack is unknown.
        TasksFailedError: an attack failed.

    Example:
        >>> again = pruneaudit.attack("runs/first", ["entropy"], out="entropy")
        >>> set(again.audit.findings["attack"])
        {'entropy'}
    """
    runtime, held = runtime or Runtime(), RunFolder.open(folder)
    ran = held.study
    held.check_unchanged(PLANNED_BY)
    values = ran.model_dump(mode="json")
    values["audit"]["attacks"] = attacks
    if outputs is not None:
        values["audit"]["outputs"] = _determined(outputs, held)
    study = validated(Study, values, "attacks")
    plan, audit_data = held.planned(study, runtime.data_folder)
    check_all_there(held, plan)
    executor = runtime.standby()
    folder, store = held.path, held.store
    with RunLock(folder), executor:
        from pruneaudit.engine.release_report import release_notes  # imports torch

        about = study_provenance(plan, audit_data, command) | _measured_before(folder)
        about |= with_target(about, plan, held.membership(study, audit_data), audit_data)
        about["warnings"] = [*about["warnings"], *release_notes(about.get("release_report"))]
        store.open_for_writing()
        settings = study_settings(plan, store, audit_data)
        learned = learn(plan, store, audit_data, settings, Players(executor, runtime.device, runtime.progress))
        audited = audit_study(plan, store, settings, about, recall=learned.recall)
        audited.results.about["declared"] = _primary_of(ran, audited.results)
        audited.results.about[SHAPING] = shaping_checks(plan, audit_data, settings)
        record_sanity_checks(audited, attacks_of(study), study.seed, SANITY_CHECK_RUN)
        if out:
            audited.results.about["warnings"] += made_private(study, Path(out))
        place = Path(out) if out else folder
        write_up(audited, place)
        return Run(place, audited, 0)


def _determined(outputs: Sequence[str], run: RunFolder) -> list[str]:
    """Returns the kinds of outputs that the stored signals determine.

    Raises:
        UserError: there is no such output, or it needs more queries; the message has the command that makes them.
    """
    found = [one.name for one in parsed_outputs(outputs)]
    if "label:queries" in found and run.study.audit.queries == 1:
        raise UserError(
            f"outputs: got 'label:queries', but {run.path} has one query of each sample, expected several; use label,"
            f" or make them with: {run.finish_command} --set audit.queries=8"
        )
    return found


def check_all_there(run: RunFolder, plan: Plan) -> None:
    """Refuses a run without the answers that the attacks need.

    Raises:
        UserError: parts are missing; the message has the command that makes them.
    """
    lacking = missing_tasks(plan, run.store)
    if not lacking:
        return
    kinds = {task.action for task in lacking}
    if kinds <= SEPARATE.keys():
        attacks = attacks_of(plan.study).items()
        needing = json.dumps([label for label, attack in attacks if kinds & attack.needs])
        lacks = " and ".join(SEPARATE[kind] for kind in SEPARATE if kind in kinds)
        raise UserError(
            f"{run.path}: this run has no {lacks} of its models, but the attacks {needing} need them; make them with:"
            f" {run.finish_command} --set 'audit.attacks={needing}'"
        )
    raise UserError(
        f"{run.path}: {len(lacking)} of {len(plan.tasks)} parts of this study are missing, first {lacking[0].name};"
        f" finish it with: {run.finish_command}"
    )


def _measured_before(folder: Path) -> dict[str, Any]:
    """Returns the run's measurements of its releases, as a part of `about`; empty if there are none."""
    try:
        return {"release_report": read_json(folder / RELEASE_FILE)}
    except (OSError, ValueError):
        return {}


def _primary_of(study: Study, played: Results) -> str:
    """Returns the study's primary attack: the rule's choice among its attacks, for the number of references used."""
    found = Primary.recorded(played.about)
    assert found is not None  # every audit records it
    return attack_by_rule((plugin.label for plugin in expand(study.audit.attacks)), found.num_references, found.floored)


def report_again(folder: str | Path, show_records: bool | None = None) -> Results:
    """Writes a run's report again, from its findings.

    Args:
        folder: the run's folder.
        show_records: as for `run`.

    Raises:
        UserError: the folder contains no finished run, or its findings are damaged.
    """
    run = RunFolder(folder)
    run.check_is_folder()
    run.check_unchanged({*SEALED_ALWAYS, *SEALED_IF_THERE} - {REPORT_FILE})
    results = Results.load(run.path)
    write_report(results, run.path / REPORT_FILE, show_records)
    seal_again(run.path, REPORT_FILE)  # reseals the report only: other changes stay detectable
    return results
