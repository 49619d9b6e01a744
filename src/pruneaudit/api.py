"""The whole job in one call: train, prune, attack, write up."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.groups import ALL, expand
from pruneaudit.attacks.primary import Primary, attack_by_rule
from pruneaudit.auditing import audit
from pruneaudit.auditing.lineup import named, ready
from pruneaudit.auditing.playing import DEFAULT_LEVELS
from pruneaudit.controls import SELFTEST, SELFTEST_RUN, record_controls
from pruneaudit.data import SOURCES
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.devices import check_device, usual_jobs
from pruneaudit.errors import UserError
from pruneaudit.files import file_sha256, make_private_folder, open_to_others, seal_again, writing
from pruneaudit.options import validated
from pruneaudit.pipeline.assemble import audit_study, release_signals, study_games
from pruneaudit.pipeline.clean import Leftover, leftovers, remove
from pruneaudit.pipeline.driver import TasksFailedError, carry_out, missing_tasks
from pruneaudit.pipeline.dropping import drop_weights
from pruneaudit.pipeline.executors import make_executor
from pruneaudit.pipeline.held_population import held_sha256
from pruneaudit.pipeline.learning import learn
from pruneaudit.pipeline.lock import RunLock
from pruneaudit.pipeline.log import LoggedProgress
from pruneaudit.pipeline.plan import Plan, attacks_of
from pruneaudit.pipeline.progress import Progress, Silent
from pruneaudit.pipeline.provenance import provenance, study_provenance
from pruneaudit.pipeline.rehearsal import rehearse
from pruneaudit.pipeline.sources import functions_importable
from pruneaudit.pipeline.store import Store
from pruneaudit.pipeline.verify import Checked, verify
from pruneaudit.report.finished import check_is_folder
from pruneaudit.report.html import write_report
from pruneaudit.report.words import counted
from pruneaudit.results import Results
from pruneaudit.run_folder import (
    PLANNED_BY,
    REPORT_FILE,
    SEALED_ALWAYS,
    SEALED_IF_THERE,
    STUDY_FILE,
    Run,
    check_unchanged,
    keep_study,
    load_study,
    measured_before,
    page_for_trackers,
    prepare,
    prepare_recorded,
    problems_of,
    replaced,
    write_up,
)
from pruneaudit.selftest import Selftest, selftest
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Study
from pruneaudit.tracking import Tracker
from pruneaudit.tracking.trackers import Trackers

if TYPE_CHECKING:
    from pruneaudit.pipeline.ray_cluster import RayCluster

MIN_MODELS = 2


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
    show_records: bool | None = None,
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
        show_records: show ids and pictures of exposed samples on the page; default: where everybody can have the data.

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
    with functions_importable(plan):
        notes = rehearse(plan, population, Store(root))
    open_folder = _made_private(plan, root)
    with (
        RunLock(root, wait),
        LoggedProgress(root, progress or Silent()) as log,
        Trackers(trackers, log, root) as watcher,
    ):
        facts = study_provenance(plan, population, command) | {"device": device, "demonstration": demonstration}
        log.event("start", command=command, device=device, executor=executor, jobs=jobs, **facts["versions"])
        store = Store(root)
        store.open_for_writing()
        for note in (*open_folder, *replaced(study, population, root), *facts["warnings"], *notes):
            log.warn(note)
        keep_study(plan, study, population, root)
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
        log.say(f"attacking {counted(len(made.releases), 'release')} of {counted(num_models, 'model')}")
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
        from pruneaudit.pipeline.release_report import release_notes, release_report  # imports torch

        with functions_importable(plan):
            measured = release_report(made, store, population, left_out)
        audited.results.about["release_report"] = measured
        audited.results.about["warnings"] = [*audited.results.about["warnings"], *release_notes(measured)]
        finished = write_up(audited, root, work.num_done, failures, begun=True, show_records=show_records)
        if not study.keep_weights:
            with writing(root, begun=True):
                num_dropped = drop_weights(plan, store, measured["model_id"])
            if num_dropped:
                log.say(
                    f"keep_weights = false: weights of {num_dropped} networks removed; a further release, other queries"
                    " or an export needs them trained again"
                )
        if trackers:
            page = page_for_trackers(audited.results, root)
            watcher.results(audited.results, (page, "findings.csv", STUDY_FILE))
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
        data_root: where the data are, in case the run's own copy is not whole.
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
    ran = load_study(folder)
    check_unchanged(folder, PLANNED_BY)
    values = ran.model_dump(mode="json")
    values["audit"]["attacks"] = attacks
    study = validated(Study, values, "attacks")
    plan, population = prepare_recorded(study, folder, Path(data_root) if data_root else None)
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
        from pruneaudit.pipeline.release_report import release_notes  # imports torch

        about = study_provenance(plan, population, command) | measured_before(folder)
        about["warnings"] = [*about["warnings"], *release_notes(about.get("release_report"))]
        store.open_for_writing()
        games = study_games(plan, store, population)
        learned = learn(plan, store, population, games, players, device, progress or Silent())
        audited = audit_study(plan, store, games, about, recall=learned.recall)
        audited.results.about["declared"] = _primary_of(ran, audited.results)
        record_controls(audited, attacks_of(study), study.seed, SELFTEST_RUN)
        if out:
            audited.results.about["warnings"] += _made_private(plan, Path(out))
        return write_up(audited, Path(out) if out else folder, 0)


def _primary_of(study: Study, played: Results) -> str:
    """The attack that the rule chooses of those that a study lists, as many references as were played with."""
    found = Primary.recorded(played.about)
    assert found is not None  # every audit records it
    return attack_by_rule((plugin.label for plugin in expand(study.audit.attacks)), found.num_references, found.floored)


def _made_private(plan: Plan, folder: Path) -> list[str]:
    """Makes the folder of a study for its owner alone, unless everybody can have the data; what to warn of."""
    if SOURCES.get(plan.study.data.source.name).is_public:
        return []
    return _made_for_owner(folder)


def _made_for_owner(folder: Path) -> list[str]:
    """Makes a folder of people's data for its owner alone; what to warn of where it was there, open to others."""
    with writing(folder):
        make_private_folder(folder)
        note = open_to_others(folder)
    return [note] if note else []


def report_again(folder: str | Path, show_records: bool | None = None) -> Results:
    """Writes a run's report again, from its findings.

    Args:
        folder: the run's folder.
        show_records: as for `run`.

    Raises:
        UserError: the folder holds no finished run, or its findings are damaged.
    """
    folder = Path(folder)
    check_is_folder(folder)
    check_unchanged(folder, {*SEALED_ALWAYS, *SEALED_IF_THERE} - {REPORT_FILE})
    results = Results.load(folder)
    write_report(results, folder / REPORT_FILE, show_records)
    seal_again(folder, REPORT_FILE)  # the other lines stay: what changes meanwhile is not vouched for
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
    plan, _ = prepare_recorded(load_study(folder), folder, Path(data_root) if data_root else None, whole=False)
    return verify(plan, Store(folder), problems_of(folder))


def clean_run(folder: str | Path, dry_run: bool = False) -> list[Leftover]:
    """Removes from a run folder what its study does not need; results and their artifacts stay.

    Args:
        folder: the run's folder.
        dry_run: remove nothing.

    Returns:
        What was removed, or would be.

    Raises:
        UserError: the folder is no run, another run is at work there, or nothing says which data are its own.
    """
    folder = Path(folder)
    study, store = load_study(folder), Store(folder)
    if not held_sha256(folder):
        raise UserError(
            f"{folder}: the run is not finished, and nothing says which data are its own; finish it first, with:"
            f" pruneaudit run {folder / STUDY_FILE} --out {folder.parent}"
        )
    with nullcontext() if dry_run else RunLock(folder):
        plan, _ = prepare_recorded(study, folder, whole=False)
        found = leftovers(plan, store)
        if not dry_run:
            with writing(folder):
                remove(found, store)
    return found


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
    plan, population = prepare_recorded(load_study(folder), folder, Path(data_root) if data_root else None)
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
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    show_records: bool | None = None,
) -> Run:
    """Audits saved predictions: findings, scores and report into a folder, no training.

    Args:
        file: predictions in the exchange format of `Signals`, `.npz`.
        attacks: comma-separated names or groups; "scores" is all that the predictions allow and that train nothing.
        references: predictions of other models on the same samples.
        paired: predictions of the same models in another public release.
        paired_references: predictions of the references in that other release.
        out: the folder; what an earlier audit wrote there is replaced.
        seed: seed of folds and bootstrap.
        command: the command line that repeats this, for the report.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: of the release, in findings and report; default: the file's, without its suffix.
        say: told of every attack before it is played, then of the controls.
        show_records: as for `run`.

    Raises:
        UserError: a file is not usable, or an attack lacks what it needs.
    """
    name = file.stem if name is None else name
    signals = Signals.load(file)
    if references is None:
        _check_has_out_models(signals, attacks, file)
    other_models, other_release, their_release = (
        None if path is None else Signals.load(path) for path in (references, paired, paired_references)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out stands in `about`
        given = signals, other_models, other_release, their_release
        found = audit(*given, attacks, seed, fpr_levels, name, say)
    say("controls: the same attacks where the answer is known")
    record_controls(found, ready(attacks.split(",")), seed, SELFTEST)
    parts = (signals.canaries, signals.reserve, signals.copies)
    canaries, reserve, copies = (int(part.sum()) for part in parts)
    found.results.about.update(
        provenance(command)
        | found.results.about
        | {
            "name": name,
            "protocol": "as in the file",
            "num_models": signals.num_models,
            "seeds": [seed],
            "population": {
                "name": file.name,
                "public": False,
                "num_samples": signals.num_samples - reserve - canaries - copies,
                "num_canaries": canaries,
                "num_reserve": reserve,
                "num_copies": copies,
                "num_classes": signals.num_classes,
                "sha256": file_sha256(file),
            },
        }
    )
    found.results.about["warnings"] += _made_for_owner(Path(out))
    return write_up(found, Path(out), 0, show_records=show_records)


def _check_has_out_models(signals: Signals, attacks: str, file: Path) -> None:
    """Refuses attacks that compare with references where all models of a file have one training set.

    Raises:
        UserError: there are such attacks; the message names those that can be played.
    """
    is_one_sided = (signals.member == signals.member[:, :1]).all()  # no members, or nobody else: said elsewhere
    if not signals.trained_alike or is_one_sided:
        return
    asked = expand(named(attacks.split(",")))
    comparing = [plugin.label for plugin in asked if "references" in ATTACKS.get(plugin.name).needs]
    if comparing:
        alone = [name for name in ATTACKS.names() if not ATTACKS.get(name).needs]
        raise UserError(
            f"{file}: all {signals.num_models} models were trained on the same samples, so no sample has a model"
            f" trained without it (an OUT model), and what compares with references ({', '.join(comparing)}) has"
            " nothing to tell members by; give models of other training sets, here or with --references, or play what"
            f" needs none: --attacks {','.join(alone)}"
        )
