"""Runs a study from its settings to its report: prepare, execute, evaluate, write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneaudit.api.page import USUAL_PAGE, PageSettings
from pruneaudit.api.reuse import evaluation_identity, results_there
from pruneaudit.api.runtime import Runtime
from pruneaudit.api.writing import Run, made_private, page_for_trackers, write_up
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, writing
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.engine.assemble import audit_study, study_settings
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.dropping import drop_weights
from pruneaudit.engine.executors import Standby
from pruneaudit.engine.learned_scores import Learned
from pruneaudit.engine.learning import Players, learn
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.preflight import preflight
from pruneaudit.engine.scheduler import TasksFailedError, Work, carry_out, forget_finished
from pruneaudit.engine.shaping_check import shaping_checks
from pruneaudit.engine.sources import functions_importable
from pruneaudit.engine.target_files import TARGET_ID
from pruneaudit.evaluation import Audit
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.recorded_checks import SANITY_CHECK_RUN, record_sanity_checks
from pruneaudit.evaluation.results import Results
from pruneaudit.evaluation.shaping_samples import SHAPING
from pruneaudit.report.words import counted
from pruneaudit.runs.audit_data import settled
from pruneaudit.runs.beginning import begin, plan_study, replaced
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.log import LoggedProgress
from pruneaudit.runs.provenance import study_provenance, target_lines, with_target
from pruneaudit.study import Study
from pruneaudit.study.recipes import load_recipe_or_file
from pruneaudit.tracking.trackers import Trackers

MIN_MODELS = 2


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study that has passed all checks and can run."""

    study: Study
    plan: Plan
    audit_data: AuditData
    run: RunFolder
    runtime: Runtime
    executor: Standby
    """Carries out its tasks."""
    notes: tuple[str, ...]
    """Notes to show to the user before the run begins."""


@dataclass(frozen=True, eq=False)
class Watch:
    """The observers of a run: the log with the caller's progress display, and experiment trackers."""

    log: LoggedProgress
    trackers: Trackers


@dataclass(frozen=True, eq=False)
class Executed:
    """The state after all tasks are done."""

    plan: Plan
    """The plan, without the releases that failed."""
    work: Work
    left_out: set[int]
    """Models with a missing part: left out of every release, so that all releases are compared on the same models."""
    settings: tuple[AttackSetting, ...]
    learned: Learned
    """The outputs of learned attacks."""

    @property
    def failures(self) -> tuple[str, ...]:
        """Tasks that failed, one line each."""
        return tuple(str(failure) for failure in self.work.failures)


def run(
    study: Study | str | Path,
    out: str | Path = "runs",
    runtime: Runtime | None = None,
    page: PageSettings = USUAL_PAGE,
) -> Run:
    """Runs a study, or continues one that was interrupted; reuses finished parts on disk.

    Args:
        study: a study, its file, or the name of a recipe, such as "mia-prune/location".
        out: the folder in which to create the run's folder, which is named after the study.
        runtime: the machine and the progress display; default: one worker process per core, on the CPU, silent.
        page: settings of the report.

    Returns:
        The finished run; its folder contains findings, scores and report.

    Raises:
        UserError: study, data, device or folder cannot be used.
        TasksFailedError: tasks failed, and fewer than two models are left to audit. If more are left,
            they are audited, and `Run.failures` and the report name the failed tasks.
        StorageError: the disk is full; finished parts are kept.

    Example:
        >>> finished = pruneaudit.run("study.toml", out="runs")
        >>> sorted(set(finished.audit.findings["attack"]))
        ['loss', 'rmia']
    """
    study = study_of(study)
    runtime = runtime or Runtime()
    with runtime.standby() as executor:
        prepared = prepare(study, Path(out) / study.name, runtime, executor)
        with watching(prepared, page) as (watch, facts):
            identity = evaluation_identity(prepared.plan, page, facts["versions"])
            if (found := found_before(prepared, identity, watch)) is not None:
                return found
            executed = execute(prepared, watch)
            audited = evaluate(prepared, executed, facts, watch)
            return write(prepared, executed, audited, watch, page, identity)


def study_of(given: Study | str | Path) -> Study:
    """Returns the given study, or loads the one that is named."""
    if isinstance(given, str | Path):
        return load_recipe_or_file(str(given))
    if not isinstance(given, Study):
        raise UserError(f"study: got {type(given).__name__}, expected a Study, its file or the name of a recipe")
    return given


def prepare(study: Study, folder: Path, runtime: Runtime, executor: Standby | None = None) -> Prepared:
    """Runs all checks before anything is written or trained.

    Args:
        study: the study.
        folder: the run folder.
        runtime: the machine.
        executor: the executor of the machine, whose worker processes are started during the checks if there is work
            for them; the caller ends it. Default: one that starts with its first task.

    Raises:
        UserError: study, data, device or folder cannot be used.
    """
    is_started_early = executor is not None and runtime.executor == "processes"
    executor = executor or runtime.standby()  # checks device, executor and jobs
    plan, audit_data = plan_study(study, runtime.data_folder, folder)
    study = settled(study, audit_data)
    run = RunFolder(folder)
    if is_started_early and not all(run.store.path(task.artifact).exists() for task in plan.tasks):
        executor.start()
    with functions_importable(plan):
        notes = preflight(plan, audit_data, run.store)
    return Prepared(study, plan, audit_data, run, runtime, executor, notes)


@contextmanager
def watching(prepared: Prepared, page: PageSettings) -> Iterator[tuple[Watch, dict[str, Any]]]:
    """Locks the run folder and records the start of the run; yields its observers and the facts for the report.

    Args:
        prepared: the checked study.
        page: settings of the report.
    """
    study, plan, audit_data, runtime = prepared.study, prepared.plan, prepared.audit_data, prepared.runtime
    folder, store = prepared.run.path, prepared.run.store
    open_folder = made_private(study, folder)
    with (
        RunLock(folder, runtime.wait),
        LoggedProgress(folder, runtime.progress) as log,
        Trackers(runtime.trackers, log, folder) as trackers,
    ):
        facts = study_provenance(plan, audit_data, page.command)
        facts |= {"device": runtime.device, "command": page.command, "demonstration": page.demonstration}
        where: dict[str, Any] = {"device": runtime.device, "executor": runtime.executor, "jobs": runtime.num_jobs}
        log.event("start", command=page.command, **where, **facts["versions"])
        store.open_for_writing()
        before = replaced(study, audit_data, folder)
        facts |= with_target(facts, plan, begin(plan, study, audit_data, folder), audit_data)
        for note in (*open_folder, *before, *facts["warnings"], *prepared.notes):
            log.warn(note)
        for line in target_lines(facts):
            log.say(line)
        trackers.start(facts)
        yield Watch(log, trackers), facts


def execute(prepared: Prepared, watch: Watch) -> Executed:
    """Runs all tasks: trainings, releases, queries, and the attacks that learn from the answers.

    Raises:
        TasksFailedError: too few models are left to audit.
    """
    study, audit_data, runtime, store = prepared.study, prepared.audit_data, prepared.runtime, prepared.run.store
    with prepared.executor as executor:
        pace = runtime.device, watch.trackers, runtime.checkpoint_seconds
        work = carry_out(prepared.plan, audit_data, store, executor, *pace)
        lost, missing = work.lost(study.membership.num_models, (TARGET_ID,) if study.target else ())
        left_out = without_broken_groups(study.membership, missing)
        num_models = study.membership.num_models - len(left_out)
        if num_models < min(MIN_MODELS, study.membership.num_models):
            raise TasksFailedError(work.failures)
        for release in lost:
            watch.log.warn(f"release {release} is left out: it failed for most models")
        made = prepared.plan.without(lost)
        watch.log.say(f"attacking {counted(len(made.releases), 'release')} of {counted(num_models, 'model')}")
        settings = study_settings(made, store, audit_data, left_out)
        players = Players(executor, runtime.device, watch.trackers)
        learned = learn(made, store, audit_data, settings, players, left_out)
    return Executed(made, work, left_out, tuple(settings), learned)


def evaluate(prepared: Prepared, executed: Executed, facts: Mapping[str, Any], watch: Watch) -> Audit:
    """Runs the attacks and sanity checks, compares releases, and measures the properties and costs of each release."""
    from pruneaudit.engine.release_report import release_notes, release_report  # imports torch

    made, store = executed.plan, prepared.run.store
    about = {**facts, "failures": list(executed.failures)}
    audited = audit_study(made, store, executed.settings, about, executed.left_out, executed.learned.recall)
    failed = record_sanity_checks(audited, attacks_of(prepared.study), prepared.study.seed, SANITY_CHECK_RUN)
    told = audited.results.about
    for note in (*told["warnings"][len(facts["warnings"]) :], *failed):
        watch.log.warn(note)
    with functions_importable(prepared.plan):
        measured = release_report(made, store, prepared.audit_data, executed.left_out)
    told["release_report"] = measured
    told[SHAPING] = shaping_checks(made, prepared.audit_data, executed.settings)
    told["warnings"] = [*told["warnings"], *release_notes(measured)]
    return audited


def found_before(prepared: Prepared, identity: str, watch: Watch) -> Run | None:
    """Returns the finished run if its folder has intact results of the same identity, otherwise None."""
    run, plan = prepared.run, prepared.plan
    audited = results_there(run, plan, prepared.audit_data, identity)
    if audited is None:
        return None
    forget_finished(plan, (), run.store)
    watch.trackers.begin(0, len(plan.tasks))
    _tell_trackers(prepared, audited.results, watch)
    watch.log.event("end", tasks_done=0, failures=0, results="as they were")
    return Run(run.path, audited, 0)


def write(
    prepared: Prepared, executed: Executed, audited: Audit, watch: Watch, page: PageSettings, identity: str
) -> Run:
    """Writes tables, scores, page and seal, removes weights that are not kept, and informs the trackers."""
    folder, store, num_done = prepared.run.path, prepared.run.store, executed.work.num_done
    identity = "" if executed.failures else identity
    write_up(audited, folder, True, page.show_records, identity, tuple(executed.learned.folders.values()))
    if not prepared.study.keep_weights:
        with writing(folder, begun=True):
            measured = audited.results.about["release_report"]
            num_dropped = drop_weights(prepared.plan, store, measured["model_id"])
        if num_dropped:
            watch.log.say(
                f"keep_weights = false: weights of {num_dropped} networks removed; another release, other queries"
                " or an export will train them again"
            )
    _tell_trackers(prepared, audited.results, watch)
    watch.log.event("end", tasks_done=num_done, failures=len(executed.failures))
    return Run(folder, audited, num_done, executed.failures)


def _tell_trackers(prepared: Prepared, results: Results, watch: Watch) -> None:
    """Sends the findings to the experiment trackers, with a page that shows no records."""
    if prepared.runtime.trackers:
        page = page_for_trackers(results, prepared.run.path)
        watch.trackers.results(results, (page, "findings.csv", STUDY_FILE))
