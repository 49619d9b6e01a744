"""Chooses the best network within limits: search on one half of the models, confirmation on the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pruneaudit.api.page import USUAL_PAGE, PageSettings
from pruneaudit.api.running import study_of
from pruneaudit.api.runtime import Runtime
from pruneaudit.api.writing import made_private
from pruneaudit.choosing.bench import Bench, Machine
from pruneaudit.choosing.confirm import confirm
from pruneaudit.choosing.files import CERTIFICATE_FILE, PAGE_FILE, ChoiceFolder
from pruneaudit.choosing.foretelling import Stage, stages
from pruneaudit.choosing.halves import halves_of
from pruneaudit.choosing.proposals import Grid, Proposals, proposals_of
from pruneaudit.choosing.search import Facts, search
from pruneaudit.choosing.setting_up import (
    candidates_by_name,
    check_attacks_work,
    check_limits,
    choose_of,
    identity_of,
    searched_study,
    study_hash,
)
from pruneaudit.choosing.wording import rung_lines
from pruneaudit.core.files import STUDY_FILE, check_sealed, seal_again
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import Splits
from pruneaudit.engine.dropping import drop_weights
from pruneaudit.engine.plan import Plan, check_functions
from pruneaudit.engine.preflight import preflight
from pruneaudit.engine.progress import Progress
from pruneaudit.engine.sources import functions_importable, recorded_sources
from pruneaudit.engine.target_files import on_disk_or
from pruneaudit.evaluation.certificate import Candidate, Certificate
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.report.chosen import certificate_markdown, certificate_page
from pruneaudit.runs.audit_data import audit_data_to_run, settled
from pruneaudit.runs.beginning import begin, replaced
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.log import LoggedProgress
from pruneaudit.runs.names import ABOUT_FILE, PLANNED_BY
from pruneaudit.runs.provenance import target_lines, with_target
from pruneaudit.study import DENSE, Study
from pruneaudit.study.choose import Choose

SEEN = (
    "{}: contains findings of a run on all of these models; if you chose the limits or the space with their help, the "
    "certificate does not hold: change the study's seed"
)


@dataclass(frozen=True, eq=False)
class Choice:
    """A finished choice.

    Example:
        >>> space = 'choose.space=[{compress = "rtn", bits = [4, 8]}]'
        >>> study = pruneaudit.Study.load("study.toml", ["name=small", "membership.num_models=8", space])
        >>> choice = pruneaudit.choose(study, pruneaudit.Limits(max_auc=0.9), out="runs")
        >>> choice.report.name
        'certificate.html'
    """

    folder: Path
    """The folder of the run."""
    certificate: Certificate
    """The candidates that were confirmed, each with its verdict."""
    path: SearchPath
    """The candidates that were tried, and the list to confirm."""

    @property
    def chosen(self) -> Candidate | None:
        """The network to release, with its figures on the confirmation half; None if no network was certified."""
        return self.certificate.chosen

    @property
    def naive(self) -> Candidate | None:
        """The choice of a search without confirmation, with its figures on the search half; None if there is none."""
        return self.path.searched.get(self.path.naive)

    @property
    def naive_confirmed(self) -> Candidate | None:
        """The same candidate with its figures on the confirmation half."""
        return next((o.candidate for o in self.certificate.judged if o.candidate.name == self.path.naive), None)

    @property
    def report(self) -> Path:
        """The page of the certificate."""
        return ChoiceFolder(self.folder).path / PAGE_FILE

    @property
    def certificate_file(self) -> Path:
        """The certificate as JSON."""
        return ChoiceFolder(self.folder).path / CERTIFICATE_FILE


def choose(
    study: Study | str | Path,
    limits: Limits,
    out: str | Path = "runs",
    runtime: Runtime | None = None,
    page: PageSettings = USUAL_PAGE,
) -> Choice:
    """Searches the space of a study for the best network within limits, and confirms it on models of its own.

    Finished parts on disk are reused, also those of `run` on the same study.

    Args:
        study: a study with a section `[choose]`, its file, or the name of such a recipe.
        limits: limits that the network must keep, and the quantity to minimise.
        out: the folder in which to create the run's folder, which is named after the study.
        runtime: the machine and the progress display; default: one worker process per core, on the CPU, silent.
        page: settings of the report.

    Raises:
        UserError: study, limits, data, device or folder cannot be used.
        TasksFailedError: tasks failed, and too few models are left.
        StorageError: the disk is full; finished parts are kept.

    Example:
        >>> space = 'choose.space=[{compress = "rtn", bits = [4, 8]}]'
        >>> study = pruneaudit.Study.load("study.toml", ["name=small", "membership.num_models=8", space])
        >>> choice = pruneaudit.choose(study, pruneaudit.Limits(max_auc=0.9), out="runs")
        >>> choice.chosen.name
        'rtn-4'
    """
    asked = _prepared(study_of(study), limits, Path(out), runtime or Runtime())
    with _watching(asked, page) as progress:
        found = _found_before(asked)
        return _carried_out(asked, progress) if found is None else found


def foretold(
    study: Study | str | Path, limits: Limits, out: str | Path = "runs", runtime: Runtime | None = None
) -> list[Stage]:
    """Returns what `choose` would do and how long it would take; changes nothing. Arguments as for `choose`."""
    asked = _prepared(study_of(study), limits, Path(out), runtime or Runtime())
    settings = asked.choose
    first = _tried_first(settings, asked.study.seed)
    num_first = min(settings.budget, len(settings.candidates)) + settings.dense
    with functions_importable(asked.first):
        return stages(asked.bench, settings, first, num_first)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A choice that has passed all checks and can begin."""

    study: Study
    choose: Choose
    limits: Limits
    runtime: Runtime
    run: RunFolder
    audit_data: AuditData
    bench: Bench
    """Without the progress display."""
    first: Plan
    """The plan of the candidates that are tried first."""
    identity: str
    study_hash: str
    """Of the study as it was given."""
    notes: tuple[str, ...]

    @property
    def files(self) -> ChoiceFolder:
        return ChoiceFolder(self.run.path)


def _prepared(study: Study, limits: Limits, out: Path, runtime: Runtime) -> _Asked:
    """Runs all checks before anything is written or trained."""
    settings = choose_of(study)
    halves = halves_of(study)
    run = RunFolder(out / study.name)
    machine = Machine(run.store, runtime.standby(), runtime.device, runtime.progress, runtime.checkpoint_seconds)
    searched = searched_study(study, settings, halves)
    check_functions(searched)
    check_attacks_work(searched)
    proposals_of(settings, study.seed, limits)  # checks that Optuna is there
    audit_data = audit_data_to_run(study, run.path, runtime.data_folder)
    check_limits(searched, halves, audit_data, limits)
    candidates = candidates_by_name(settings)
    hashes = on_disk_or(recorded_sources(run.path))
    bench = Bench(settled(searched, audit_data), candidates, halves, audit_data, limits, hashes, machine)
    first = bench.plan(_tried_first(settings, study.seed))
    with functions_importable(first):
        notes = preflight(first, audit_data, run.store)
    identity = identity_of(study, limits, audit_data, first.sources)
    drawn, own = settled(study, audit_data), study_hash(study)
    return _Asked(drawn, settings, limits, runtime, run, audit_data, bench, first, identity, own, notes)


def _tried_first(settings: Choose, seed: int) -> list[str]:
    """Returns the candidates of a grid; for Optuna, which proposes later, one of each template."""
    if settings.search == "grid":
        return [DENSE] * settings.dense + Grid(settings, seed).next()
    of_entries = {candidate.entry: candidate.name for candidate in reversed(settings.candidates)}
    return [DENSE] * settings.dense + sorted(of_entries.values())


@contextmanager
def _watching(asked: _Asked, page: PageSettings) -> Iterator[Progress]:
    """Locks the run folder, and writes what must exist before the first training."""
    run, runtime = asked.run, asked.runtime
    open_folder = made_private(asked.study, run.path)
    with RunLock(run.path, runtime.wait), LoggedProgress(run.path, runtime.progress) as log:
        where = {"device": runtime.device, "executor": runtime.executor, "jobs": runtime.num_jobs}
        log.event("start", command=page.command, where=where)
        run.store.open_for_writing()
        before = replaced(asked.study, asked.audit_data, run.path)
        splits = _begin(asked)
        told = with_target({"warnings": asked.study.warnings()}, asked.first, splits, asked.audit_data)
        seen = [SEEN.format(run.path)] if (run.path / ABOUT_FILE).exists() else []
        for note in (*open_folder, *before, *told.get("warnings", asked.study.warnings()), *asked.notes, *seen):
            log.warn(note)
        for line in target_lines(told):
            log.say(line)
        yield log
        log.event("end")


def _begin(asked: _Asked) -> Splits:
    """Writes study, sources and membership; the results of a finished run of the same bank stay valid."""
    run = asked.run
    intact = [name for name, problem in check_sealed(run.path).items() if not problem and name in PLANNED_BY]
    contents = {name: (run.path / name).read_bytes() for name in intact if name != STUDY_FILE}
    same_bank = STUDY_FILE in intact and _without_choose(run.study) == _without_choose(asked.study)
    splits = begin(asked.first, asked.study, asked.audit_data, run.path)
    unchanged = all((run.path / name).exists() and (run.path / name).read_bytes() == c for name, c in contents.items())
    if same_bank and unchanged:
        seal_again(run.path, STUDY_FILE)
    return splits


def _without_choose(study: Study) -> Study:
    return study.model_copy(update={"choose": None})


def _found_before(asked: _Asked) -> Choice | None:
    """Returns the finished choice if its files are intact and of the same study, data and limits, otherwise None."""
    path, certificate = asked.files.search(), asked.files.certificate()
    if path is None or certificate is None or path.identity != asked.identity:
        return None
    return Choice(asked.run.path, certificate, path)


def _carried_out(asked: _Asked, progress: Progress) -> Choice:
    """Searches, confirms, and writes the certificate."""
    with asked.runtime.standby() as executor, functions_importable(asked.first):
        machine = replace(asked.bench.machine, executor=executor, progress=progress)
        bench = replace(asked.bench, machine=machine)
        path = _searched(asked, bench)
        progress.say(f"the list to confirm, safest first: {', '.join(path.listed) or 'none'}")
        certificate = confirm(bench, path, asked.study_hash)
    text, page = certificate_markdown(certificate, path), certificate_page(certificate, path)
    asked.files.keep_certificate(certificate, text, page)
    if not asked.study.keep_weights:
        _drop_weights(bench, path)
    return Choice(asked.run.path, certificate, path)


def _searched(asked: _Asked, bench: Bench) -> SearchPath:
    """Returns the search that was sealed before, or searches and seals."""
    before = asked.files.search()
    if before is not None and before.identity == asked.identity:
        return before
    earlier = asked.files.earlier(asked.identity)
    facts = Facts(asked.identity, asked.study.name, len(bench.candidates), earlier)
    proposals: Proposals = proposals_of(asked.choose, asked.study.seed, asked.limits)

    def tell(rung: Rung) -> None:
        for line in rung_lines(rung, asked.limits):
            bench.machine.progress.say(line)

    path = search(bench, asked.choose, proposals, facts, tell)
    asked.files.keep_search(path)
    return path


def _drop_weights(bench: Bench, path: SearchPath) -> None:
    """Removes the weights of trials, except one model per candidate of the list and of the search."""
    store = bench.machine.store
    if path.listed:
        drop_weights(bench.planned(path.listed, bench.halves.confirm), store, bench.halves.confirm[0])
    for rung in path.rungs:
        names = [candidate.name for candidate in rung.candidates]
        drop_weights(bench.planned(names, rung.model_ids), store, bench.halves.search[0])
