"""The whole job in one call: train, prune, attack, write up."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pruneaudit.attacks.groups import ALL
from pruneaudit.auditing import Audit, audit
from pruneaudit.auditing.lineup import ready
from pruneaudit.controls import SELFTEST, SELFTEST_RUN, record_controls
from pruneaudit.data.population import Population, load_population
from pruneaudit.data.splits import splits_of, without_broken_groups
from pruneaudit.errors import UserError
from pruneaudit.files import check_sealed, file_sha256, seal_files, write_atomically, writing_error
from pruneaudit.options import validated
from pruneaudit.pipeline.assemble import audit_study, release_signals, study_games
from pruneaudit.pipeline.driver import TasksFailedError, carry_out, missing_tasks
from pruneaudit.pipeline.engines import ENGINES_FILE, keep_engine, known_engine, resolve_engine
from pruneaudit.pipeline.executors import make_executor
from pruneaudit.pipeline.learning import learn
from pruneaudit.pipeline.lock import RunLock
from pruneaudit.pipeline.log import LoggedProgress
from pruneaudit.pipeline.plan import Plan, attacks_of, check_plugins, make_plan
from pruneaudit.pipeline.progress import Progress, Silent
from pruneaudit.pipeline.provenance import provenance, study_provenance
from pruneaudit.pipeline.rehearsal import rehearse
from pruneaudit.pipeline.store import Store
from pruneaudit.pipeline.verify import Checked, verify
from pruneaudit.report.compare import changed_settings
from pruneaudit.report.html import write_report
from pruneaudit.report.notebook import run_html
from pruneaudit.results import RESULT_FILES, Results
from pruneaudit.selftest import Selftest, selftest
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Study
from pruneaudit.tracking import Tracker
from pruneaudit.tracking.trackers import Trackers

if TYPE_CHECKING:
    from pruneaudit.pipeline.ray_cluster import RayCluster

STUDY_FILE = "study.json"
MEMBERSHIP_FILE = "membership.npz"
"""Who is in whose training set: member, eligible (M, N), is_victim, group (M,), ids, reserve, canary (N,)."""
REPORT_FILE = "report.html"
RELEASE_FILE = "release.json"
"""What every release is and costs; also in about.json."""
MIN_MODELS = 2
_MAY_DIFFER: Any = {"releases": True, "audit": True, "description": True, "membership": {"num_models"}}
"""Settings in which a study may go on from what is in its folder."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished study."""

    folder: Path
    """Where everything lies."""
    audit: Audit
    """Findings, comparisons, scores."""
    num_tasks_done: int
    """Trainings, prunings and queries that this run had to do; the rest was there."""
    failures: tuple[str, ...] = ()
    """Tasks that failed, a line each; their models are left out of all findings. A release that failed for
    most models is left out itself, and takes no model with it."""

    @property
    def report(self) -> Path:
        """The report to open."""
        return self.folder / REPORT_FILE

    def _repr_html_(self) -> str:
        """A notebook shows the report's answer, the findings and where the report lies."""
        return run_html(self.audit.results, self.report, self.failures)


def prepare(study: Study, data_root: Path | None = None, folder: Path | None = None) -> tuple[Plan, Population]:
    """The plan of a study, and its population.

    Args:
        study: the study.
        data_root: as for `run`.
        folder: the run folder, which knows the engine of the study's bank, where that was decided by a trial.

    Raises:
        UserError: the study names something unknown, or its data are not there or do not suffice.
    """
    check_plugins(study)
    population = load_population(study.data, study.seed, data_root)
    return make_plan(study, population, known_engine(study, population, folder)), population


def run(
    study: Study,
    out: str | Path = "runs",
    executor: str = "processes",
    jobs: int | None = None,
    device: str = "cpu",
    data_root: str | Path | None = None,
    progress: Progress | None = None,
    command: str = "",
    demonstration: bool = False,
    checkpoint_seconds: float = 60.0,
    wait: bool = False,
    ray_cluster: RayCluster | None = None,
    trackers: Sequence[Tracker] = (),
) -> Run:
    """Runs a study, or finishes one that was interrupted; what is on disk already is not made again.

    Args:
        study: what to do.
        out: the run's folder is made in it, named after the study.
        executor: `processes` (one worker process per core), `serial` (in this process) or `ray`.
        jobs: tasks at a time; default: one per core, in worker processes on a GPU one; on a cluster all that it has.
        device: `cpu`, `cuda`, or `cuda:N`.
        data_root: where downloaded data sets lie; default: PRUNEAUDIT_DATA or ~/.cache/pruneaudit.
        progress: a `pipeline.progress.Progress`; default: silent.
        command: the command line that repeats this, for the report.
        demonstration: the report says that it is a demonstration.
        checkpoint_seconds: a training is kept on disk between epochs at most this often.
        wait: if another run is at work in the folder, wait for it; otherwise that is an error.
        ray_cluster: for executor `ray`; default: a cluster on this machine, for this run.
        trackers: experiment trackers, such as `tracking.tracker("mlflow")`; one that fails is named and ends no run.

    Returns:
        The finished run; findings, scores and report are in its folder.

    Raises:
        UserError: study, data, device or folder cannot be used.
        TasksFailedError: tasks failed, and fewer than two models are left to audit. Where more are left,
            they are audited, and `Run.failures` and the report name what is missing.
        StorageError: the disk is full; what is finished is kept.
    """
    if not isinstance(study, Study):
        raise UserError(f"study: got {type(study).__name__}, expected a Study; use Study.load(path)")
    on_a_cluster = executor == "ray" and ray_cluster is not None and bool(ray_cluster.address)
    if not on_a_cluster:  # a cluster has devices of its own
        check_device(device)
    if jobs is None and not on_a_cluster:
        jobs = usual_jobs("cpu" if executor == "ray" else device)
    chosen = make_executor(executor, jobs, ray_cluster)
    root = Path(out) / study.name
    plan, population = prepare(study, Path(data_root) if data_root else None, root)
    rehearse(plan, population, Store(root))
    engine = resolve_engine(study, population, root, device)
    with (
        RunLock(root, wait),
        LoggedProgress(root, progress or Silent()) as log,
        Trackers(trackers, log, root) as watcher,
    ):
        engine = keep_engine(engine, study, population, root)
        if engine != plan.engine:
            plan = make_plan(study, population, engine)
        facts = study_provenance(plan, population, command) | {"device": device, "demonstration": demonstration}
        log.event("start", command=command, device=device, executor=executor, jobs=jobs, **facts["versions"])
        store = Store(root)
        store.open_for_writing()
        for note in (*_replaced(study, root), *study.warnings()):
            log.warn(note)
        _keep_study(study, population, root)
        if study.training.engine != "plain":
            log.say(f"training engine: {engine.name} ({engine.reason})")
        watcher.start(facts)
        work = carry_out(plan, population, store, chosen, device, watcher, checkpoint_seconds)
        lost, missing = work.lost(study.membership.num_models)
        left_out = without_broken_groups(study.membership, missing)
        num_models = study.membership.num_models - len(left_out)
        if num_models < MIN_MODELS:
            raise TasksFailedError(work.failures)
        for release in lost:
            log.warn(f"release {release} is left out: it failed for most models")
        made = plan.without(lost)
        log.say(f"attacking {len(made.releases)} releases of {num_models} models")
        failures = tuple(str(failure) for failure in work.failures)
        games = study_games(made, store, population, left_out)
        again = make_executor(executor, jobs, ray_cluster)
        learned = learn(made, store, population, games, again, device, watcher, left_out)
        audited = audit_study(
            made, store, games, facts | {"failures": list(failures)}, left_out, learned.recall, log.say
        )
        failed = record_controls(audited, attacks_of(study), study.seed, SELFTEST_RUN)
        for note in (*audited.results.about["warnings"][len(facts["warnings"]) :], *failed):
            log.warn(note)
        from pruneaudit.pipeline.release_report import release_report  # imports torch

        audited.results.about["release_report"] = release_report(made, store, population, left_out)
        finished = _written_up(audited, root, work.num_done, failures)
        watcher.results(audited.results, (REPORT_FILE, "findings.csv", STUDY_FILE))
        log.event("end", tasks_done=work.num_done, failures=len(failures))
        return finished


def attack_again(
    folder: str | Path,
    attacks: list[str],
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    command: str = "",
    executor: str = "processes",
    jobs: int | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Run:
    """Plays other attacks on the signals that a run has stored; no network of the study is trained.

    Args:
        folder: the run's folder.
        attacks: names such as "rmia" or "lira:mode=offline".
        out: where findings and report go; default: the run's folder.
        data_root: as for `run`.
        command: the command line that repeats this, for the report.
        executor: what attacks that learn are played by, as for `run`.
        jobs: how many of them at a time; default: one per core.
        progress: told of them; default: silent.
        device: where they learn: `cpu`, `cuda`, or `cuda:N`.

    Raises:
        UserError: the folder is no run, signals are missing, or an attack is unknown.
        TasksFailedError: an attack could not be played.
    """
    folder = Path(folder)
    if check_sealed(folder).get(STUDY_FILE):
        raise UserError(f"{folder / STUDY_FILE} has changed since the run was finished; run the study again")
    values = load_study(folder).model_dump(mode="json")
    values["audit"]["attacks"] = attacks
    study = validated(Study, values, "attacks")
    plan, population = prepare(study, Path(data_root) if data_root else None, folder)
    store = Store(folder)
    lacking = missing_tasks(plan, store)
    if lacking:
        finish = f"pruneaudit run {folder / STUDY_FILE} --out {folder.parent}"
        if all(task.action == "sensitivity" for task in lacking):
            needing = json.dumps(
                [label for label, attack in attacks_of(study).items() if "sensitivity" in attack.needs]
            )
            raise UserError(
                f"{folder}: this run has not asked its models for their sensitivity, which {needing} needs; ask them"
                f" with: {finish} --set 'audit.attacks={needing}'"
            )
        raise UserError(
            f"{folder}: {len(lacking)} of {len(plan.tasks)} parts of this study are not there, first {lacking[0].name};"
            f" finish it with: {finish}"
        )
    check_device(device)
    players = make_executor(executor, jobs or usual_jobs(device))
    with RunLock(folder):
        about = study_provenance(plan, population, command) | _measured_before(folder)
        store.open_for_writing()
        games = study_games(plan, store, population)
        learned = learn(plan, store, population, games, players, device, progress or Silent())
        audited = audit_study(plan, store, games, about, recall=learned.recall)
        record_controls(audited, attacks_of(study), study.seed, SELFTEST_RUN)
        return _written_up(audited, Path(out) if out else folder, 0)


def _measured_before(folder: Path) -> dict[str, Any]:
    """What a run has measured of its releases, as a part of `about`; nothing where it has not."""
    try:
        return {"release_report": json.loads((folder / RELEASE_FILE).read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return {}


def report_again(folder: str | Path) -> Results:
    """Writes a run's report again, from its findings.

    Raises:
        UserError: the folder holds no finished run, or its findings are damaged.
    """
    folder = Path(folder)
    for name, problem in check_sealed(folder).items():
        if problem and name != REPORT_FILE:
            raise UserError(f"{folder}: {name} {problem}; expected a finished run (run the study again: it mends this)")
    results = Results.load(folder)
    write_report(results, folder / REPORT_FILE)
    _seal(folder)
    return results


def verify_run(folder: str | Path, data_root: str | Path | None = None) -> list[Checked]:
    """Checks every file of a run; changes nothing.

    Args:
        folder: the run's folder.
        data_root: as for `run`.

    Raises:
        UserError: the folder is no run, or its data are not there.
    """
    folder = Path(folder)
    plan, _ = prepare(load_study(folder), Path(data_root) if data_root else None, folder)
    return verify(plan, Store(folder))


def selftest_run(
    folder: str | Path,
    attacks: Sequence[str] = (ALL,),
    seed: int = 0,
    data_root: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Selftest:
    """The self-test, on the stored signals of a run's dense models too; changes nothing.

    Args:
        folder: the run's folder.
        attacks: names such as "lira:mode=offline"; default: every registered attack.
        seed: of made-up predictions and redrawn membership.
        data_root: as for `run`.
        say: told what is being done.

    Raises:
        UserError: an attack is unknown, or the folder is no run or holds signals of fewer than two dense models.
    """
    folder = Path(folder)
    plan, population = prepare(load_study(folder), Path(data_root) if data_root else None, folder)
    store, tasks = Store(folder), plan.of("signals", DENSE)
    missing = {task.model_id for task in tasks if store.status(task.artifact)[0] != "whole"}
    left_out = without_broken_groups(plan.study.membership, missing)
    if len(tasks) - len(left_out) < MIN_MODELS:
        raise UserError(
            f"{folder}: signals of {len(tasks) - len(left_out)} dense models are there, expected {MIN_MODELS} or more;"
            f" finish the run with: pruneaudit run {folder / STUDY_FILE} --out {folder.parent}"
        )
    signals = release_signals(plan, store, population, DENSE, left_out)
    return selftest(attacks, seed, signals, f"{plan.study.name}, membership redrawn", say)


def audit_files(
    file: Path,
    attacks: str = "scores",
    references: Path | None = None,
    paired: Path | None = None,
    paired_references: Path | None = None,
    out: str | Path = "audit",
    seed: int = 0,
    command: str = "",
) -> Run:
    """Audits saved predictions: findings, scores and report into a folder, no training.

    Args:
        file: predictions in the exchange format of `Signals`, `.npz`.
        attacks: comma-separated names or groups; "scores" is all that the predictions allow and that train nothing.
        references: predictions of other models on the same samples.
        paired: predictions of the same models in another public release.
        paired_references: predictions of the references in that other release.
        out: the folder.
        seed: seed of folds and bootstrap.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: a file is not usable, or an attack lacks what it needs.
    """
    signals = Signals.load(file)
    other_models, other_release, their_release = (
        None if path is None else Signals.load(path) for path in (references, paired, paired_references)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out stands in `about`
        found = audit(signals, other_models, other_release, their_release, attacks, seed)
    record_controls(found, ready(attacks.split(",")), seed, SELFTEST)
    reserve, canaries = int(signals.reserve.sum()), int(signals.canaries.sum())
    found.results.about.update(
        provenance(command)
        | found.results.about
        | {
            "name": file.stem,
            "protocol": "as in the file",
            "num_models": signals.num_models,
            "seeds": [seed],
            "population": {
                "name": file.name,
                "num_samples": signals.num_samples - reserve - canaries,
                "num_canaries": canaries,
                "num_reserve": reserve,
                "num_classes": signals.num_classes,
                "sha256": file_sha256(file),
            },
        }
    )
    return _written_up(found, Path(out), 0)


def _seal(folder: Path) -> None:
    some_have = (STUDY_FILE, MEMBERSHIP_FILE, RELEASE_FILE, ENGINES_FILE)
    names = [*RESULT_FILES, "scores.parquet", REPORT_FILE, *(name for name in some_have if (folder / name).exists())]
    seal_files(folder, names)


def _keep_study(study: Study, population: Population, root: Path) -> None:
    """Writes the study, and who is in whose training set, into the run folder."""
    splits = splits_of(study.membership, study.seed, range(study.membership.num_models), population)
    manifest = {field.name: getattr(splits, field.name) for field in fields(splits)}
    manifest |= {"ids": population.ids, "reserve": population.reserve, "canary": population.canary}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **manifest)
    try:
        write_atomically(root / STUDY_FILE, study.model_dump_json(indent=1) + "\n")
        write_atomically(root / MEMBERSHIP_FILE, buffer.getvalue())
    except OSError as error:
        raise writing_error(root, error) from None


def _replaced(study: Study, root: Path) -> list[str]:
    """What leaves the findings of a run folder because another study of the same name has been run there."""
    if not (root / STUDY_FILE).is_file():
        return []
    try:
        before = load_study(root)
    except UserError:  # of another version, or damaged: it is replaced whatever it was
        return []
    new, old = (json.loads(each.model_dump_json(exclude=_MAY_DIFFER)) for each in (study, before))
    changed = [setting.key for setting in changed_settings(new, old)]
    if not changed:
        return []
    lost = [release.name for release in before.releases if release not in study.releases]
    leaving = f", and {', '.join(lost)} leave them" if lost else ""
    return [
        f"{root} holds a study that differs in {', '.join(changed[:4])}: these findings replace its{leaving}; to keep"
        " both, give this one another --out or --set name=NAME"
    ]


def load_study(folder: Path) -> Study:
    """The study of a run folder."""
    if not (folder / STUDY_FILE).is_file():
        raise UserError(f"{folder}: no {STUDY_FILE} there; expected the folder of a run, such as runs/NAME")
    return Study.load(folder / STUDY_FILE)


def _written_up(found: Audit, folder: Path, num_tasks_done: int, failures: tuple[str, ...] = ()) -> Run:
    """Saves findings, scores and report of an audit."""
    try:
        found.save(folder)
        if "release_report" in found.results.about:
            text = json.dumps(found.results.about["release_report"], indent=1, allow_nan=False)
            write_atomically(folder / RELEASE_FILE, text + "\n")
        write_report(found.results, folder / REPORT_FILE)
        _seal(folder)
    except OSError as error:
        raise writing_error(folder, error) from None
    return Run(folder, found, num_tasks_done, failures)


def usual_jobs(device: str) -> int:
    """Tasks at a time unless told otherwise: one per core, on a GPU one."""
    return usable_cores() if device == "cpu" else 1


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Checks that a device can be used; torch is imported only where a GPU is asked for.

    Raises:
        UserError: there is no such device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UserError(f"device: got '{device}', expected cpu, cuda, or cuda:N")
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("device: 'cuda' was asked for, and torch finds no CUDA device here; use --device cpu")
        if index and int(index) >= torch.cuda.device_count():
            raise UserError(f"device: there is no '{device}', only {torch.cuda.device_count()} CUDA devices")
