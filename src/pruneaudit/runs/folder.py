"""The only access to a run on disk: its study, data, membership, plan, signals, models and results."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SEALED_FILES, STUDY_FILE, WEIGHTS_FILE, check_sealed, read_json, seal_files
from pruneaudit.core.registry import nearest
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import read_membership
from pruneaudit.data.splits import Splits
from pruneaudit.engine.plan import Plan, Task, check_plugins, make_plan
from pruneaudit.engine.sources import recorded_sources
from pruneaudit.engine.store import SEAL, Store
from pruneaudit.evaluation.outcome import SCORES_FILE
from pruneaudit.evaluation.results import OPTIONAL_FILES, RESULT_FILES, Results, changed
from pruneaudit.runs.audit_data import held_audit_data
from pruneaudit.runs.names import ABOUT_FILE, PLANNED_BY, SEALED_ALWAYS, SEALED_IF_THERE
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Study


class RunFolder:
    """A run on disk.

    Parts are read on demand. Functions that the folder names are never imported, because a folder from a stranger would
    run the stranger's code.

    Example:
        >>> run = pruneaudit.RunFolder.open("runs/first")
        >>> run.study.name
        'first'
        >>> findings = run.results().findings[["release", "attack", "auc", "auc_low", "auc_high"]]
    """

    def __init__(self, path: str | Path) -> None:
        """Describes a run folder, which need not contain a study yet (otherwise use `open`).

        Args:
            path: the folder.
        """
        self.path = Path(path)
        self.store = Store(self.path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens the folder of a run that has started.

        Raises:
            UserError: the folder contains no study.
        """
        run = cls(path)
        if not run.is_begun:
            raise UserError(f"{run.path}: no {STUDY_FILE} there; expected the folder of a run, such as runs/NAME")
        return run

    @property
    def is_begun(self) -> bool:
        """Whether a run has started here, finished or not."""
        return (self.path / STUDY_FILE).is_file()

    @property
    def finish_command(self) -> str:
        """The command that makes all missing or damaged parts again."""
        return f"pruneaudit run {self.path / STUDY_FILE} --out {self.path.parent}"

    @cached_property
    def study(self) -> Study:
        """The study of the run.

        Raises:
            UserError: the file is unreadable, or of another version.
        """
        return Study.load(self.path / STUDY_FILE)

    def membership(self, study: Study, audit_data: AuditData) -> Splits:
        """Returns the splits of all models, as they were drawn at the start of the run.

        Raises:
            UserError: the file is missing, or belongs to another study.
        """
        return read_membership(self.path, study.membership.num_models, len(audit_data.y))

    def planned(
        self, study: Study | None = None, data_root: Path | None = None, whole: bool = True
    ) -> tuple[Plan, AuditData]:
        """Returns the plan of a study, and the audit data of this folder.

        Args:
            study: this run's study with other attacks; default: unchanged.
            data_root: as for `pruneaudit.run`; used only if the folder's audit data are unusable.
            whole: refuse a damaged copy of the data; `verify` only reports it.

        Raises:
            UserError: the study names something unknown, its data cannot be used, or the run has not recorded the
                source of a function.
        """
        study = self.study if study is None else study
        check_plugins(study)
        audit_data = held_audit_data(study, self.path, data_root, whole)
        return self._recorded(study, audit_data), audit_data

    def finished(self) -> tuple[Plan, AuditData]:
        """Returns the plan of a finished run, and the audit data of this folder.

        Raises:
            UserError: the run is not finished, or its study or audit data has changed since.
        """
        study, problems = self.study, self.problems()
        if problems[SEALED_FILES]:
            made = sorted(self.path.glob(f"*/model-*/{SEAL}"))
            parts = [file.parent.parent.name.rpartition("-")[0] for file in made]
            there = ", ".join(f"{parts.count(name)} of {name}" for name in dict.fromkeys(parts)) or "none"
            raise UserError(
                f"{self.path}: the run is not finished (finished models: {there}); finish it with:"
                f" {self.finish_command}"
            )
        for name in (ABOUT_FILE, *PLANNED_BY):
            if problems.get(name):
                raise UserError(f"{self.path / name} {problems[name]}; run the study again: {self.finish_command}")
        expected = read_json(self.path / ABOUT_FILE)["audit_data"]["sha256"]
        audit_data = AuditData.load(self.path / f"audit_data-{expected[:8]}", mmap=True)
        if audit_data.sha256 != expected:
            raise UserError(f"{self.path}: its audit data have changed; run the study again: {self.finish_command}")
        return self._recorded(study, audit_data), audit_data

    def _recorded(self, study: Study, audit_data: AuditData) -> Plan:
        return make_plan(study, audit_data, recorded_sources(self.path))

    def model(self, plan: Plan, release: str, model_id: int) -> tuple[Task, Path]:
        """Returns the task that made a model, and the model's folder.

        Raises:
            UserError: the release or model does not exist or is damaged, or its weights were not kept.
        """
        if release not in plan.releases:
            names, hint = ", ".join(plan.releases), nearest(release, plan.releases)
            raise UserError(f"{self.path}: no release '{release}'{hint}; expected one of: {names}")
        tasks = {task.model_id: task for task in plan.models(release)}
        status, reason = self.store.status(tasks[model_id].artifact) if model_id in tasks else ("missing", "")
        if status == "damaged":
            place = self.store.path(tasks[model_id].artifact)
            raise UserError(f"{place}: damaged ({reason}); repair it with: {self.finish_command}")
        if status == "missing":
            there = [number for number, task in tasks.items() if self.store.status(task.artifact)[0] == "whole"]
            shown = ", ".join(map(str, there if len(there) <= 8 else [*there[:3], "...", there[-1]]))
            raise UserError(f"{self.path}: release '{release}' has no model {model_id}; there are: {shown or 'none'}")
        if WEIGHTS_FILE in self.store.dropped(tasks[model_id].artifact):
            there = [number for number, task in tasks.items() if not self.store.dropped(task.artifact)]
            raise UserError(
                f"{self.path}: the weights of model {model_id} of '{release}' were not kept (keep_weights = false);"
                f" use model {there[0] if there else 0}, or train them again with: {self.finish_command}"
                " --set keep_weights=true"
            )
        return tasks[model_id], self.store.path(tasks[model_id].artifact)

    def signals(self, plan: Plan, audit_data: AuditData, release: str, left_out: Collection[int] = ()) -> Signals:
        """Returns the signals of a release's models, without the models that are left out.

        Raises:
            UserError: the membership file is missing, or belongs to another study.
        """
        from pruneaudit.engine.assemble import release_signals  # imports what audits need

        return release_signals(plan, self.store, audit_data, release, left_out)

    def results(self) -> Results:
        """Returns the results of a finished run, if they are unchanged.

        The scores can be removed to save space, but must not differ.

        Raises:
            UserError: the folder contains no finished run, or its results have changed.
        """
        self.check_is_folder()
        if not (self.path / SEALED_FILES).exists() and not (self.path / ABOUT_FILE).exists():
            raise UserError(f"{self.path}: contains no results; expected the folder of a finished run")
        problems = check_sealed(self.path, RESULT_FILES, if_there=(SCORES_FILE, *OPTIONAL_FILES))
        for name, problem in problems.items():
            is_removed = name == SCORES_FILE and not (self.path / SCORES_FILE).exists()
            if problem and name in (SEALED_FILES, *RESULT_FILES, *OPTIONAL_FILES, SCORES_FILE) and not is_removed:
                raise changed(self.path, name, problem)
        return Results.load(self.path)

    def check_is_folder(self) -> None:
        """Checks that the folder exists.

        Raises:
            UserError: it does not exist.
        """
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder; expected that of a finished run, such as runs/demo")

    def problems(self) -> dict[str, str]:
        """Returns the problems of a finished run's result files, as `check_sealed` does."""
        return check_sealed(self.path, SEALED_ALWAYS, SEALED_IF_THERE)

    def check_unchanged(self, names: Collection[str]) -> None:
        """Checks that the list of checksums and the given files are unchanged.

        Raises:
            UserError: one has changed, is missing, or is not listed.
        """
        for name, problem in self.problems().items():
            if problem and name in (SEALED_FILES, *names):
                raise changed(self.path, name, problem)

    def seal(self) -> None:
        """Writes the checksums of all results."""
        seal_files(self.path, [*SEALED_ALWAYS, *(name for name in SEALED_IF_THERE if (self.path / name).exists())])
