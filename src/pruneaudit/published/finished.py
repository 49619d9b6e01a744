"""Finished runs for export to other programs: the plan that was carried out, and facts about each release."""

# M models, V victims, N samples, C classes

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.store import SEAL
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics import Estimate, PerVictim, two_way
from pruneaudit.metrics.arrays import spread
from pruneaudit.published.pruning_mia import base_name, dataset_name, same_study, seed_suffix
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.log import LOG
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Release, Study

_DONE = re.compile(r' event=done task=("(?:[^"\\]|\\.)*") seconds=(\d+(?:\.\d+)?)$')
"""A finished task in the log; the names of all tasks contain a space, so they are quoted."""


def nonmember_loss(signals: Signals) -> PerVictim:
    """Returns each victim's mean cross-entropy on its non-members without canaries, in nats; NaN if it has none."""
    values, influence = np.full(len(signals.victims), np.nan), np.zeros((len(signals.victims), signals.num_samples))
    for v, row in enumerate(signals.victims):
        chosen = signals.ordinary[row] & ~signals.member[row]  # (N,)
        logits = signals.logits_of(row, chosen).astype(np.float64)  # (n, C)
        losses = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), signals.labels[chosen]]
        if len(losses):
            values[v], influence[v, chosen] = losses.mean(), spread(losses - losses.mean())
    return PerVictim(values, influence)


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run with its tables."""

    folder: Path
    plan: Plan
    audit_data: AuditData
    results: Results
    """The results of the run itself, or of other attacks on its stored signals."""

    @classmethod
    def load(cls, folder: Path, results: Results | None = None) -> Finished:
        """Loads a finished run from its folder.

        Args:
            folder: the run's folder.
            results: other results for it; default: the run's own.

        Raises:
            UserError: the run is not finished, or damaged.
        """
        run = RunFolder.open(folder)
        plan, audit_data = run.finished()
        return cls(folder, plan, audit_data, run.results() if results is None else results)

    @property
    def study(self) -> Study:
        """The study of the run."""
        return self.plan.study

    @property
    def releases(self) -> tuple[str, ...]:
        """The names of the audited releases, `dense` first."""
        return tuple(map(str, self.results.releases["release"]))

    def release(self, name: str) -> Release | None:
        """Returns a release of the study; None for `dense`."""
        return next((release for release in self.study.releases if release.name == name), None)

    @cached_property
    def left_out(self) -> set[int]:
        """Models with a missing part, which the audit left out of every release."""
        tasks = [task for task in self.plan.tasks if task.release in self.releases]
        missing = {task.model_id for task in tasks if not (self.folder / task.artifact.folder / SEAL).is_file()}
        return without_broken_groups(self.study.membership, missing)

    def tasks(self, release: str) -> list[Task]:
        """Returns the tasks that made the attacked models of a release."""
        membership, left_out = self.study.membership, self.left_out
        tasks = self.plan.models(release)
        return [task for task in tasks if membership.is_victim(task.model_id) and task.model_id not in left_out]

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Seconds of each task, by name, from the run's log; for a repeated task those of the last time.

        A training that continued from a checkpoint counts from there. Empty without a log.
        """
        try:
            lines = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        return {json.loads(found[1]): float(found[2]) for line in lines if (found := _DONE.search(line))}

    @cached_property
    def losses(self) -> dict[str, Estimate]:
        """Mean cross-entropy on non-members, in nats, by release: the mean over models, with its interval."""
        found = {}
        for release in self.releases:
            signals = RunFolder(self.folder).signals(self.plan, self.audit_data, release, self.left_out)
            found[release] = two_way(*nonmember_loss(signals), bounds=(0.0, np.inf))
        return found

    def row(self, release: str) -> dict[str, Any]:
        """Returns the row of a release in the table of releases."""
        rows = self.results.releases
        return dict(rows[rows["release"] == release].iloc[0])


def all_seeds(study: Study, out: Path) -> list[Finished]:
    """Returns the finished runs of a study under all seeds, including its own, by seed.

    Args:
        study: the study of one seed.
        out: the folder of their run folders.

    Raises:
        UserError: this study's own run is not finished, or damaged.
    """
    runs = {study.seed: Finished.load(out / study.name)}
    for file in sorted(out.glob(f"{escape(base_name(study))}*/{STUDY_FILE}")):
        with suppress(UserError):  # skips unfinished or damaged runs of other seeds
            other = RunFolder.open(file.parent).study
            is_named = other.name == file.parent.name == base_name(study) + seed_suffix(other.seed)
            if is_named and same_study(other, study, but=("name", "seed")):
                runs.setdefault(other.seed, Finished.load(file.parent))
    return [run for _, run in sorted(runs.items())]


def load_runs(folders: Sequence[str | Path]) -> list[Finished]:
    """Loads finished runs for common tables.

    Raises:
        UserError: a run is unfinished or damaged, or two runs on the same data differ in more than the seed.
    """
    runs = [Finished.load(Path(folder)) for folder in folders]
    for number, run in enumerate(runs):
        for other in runs[:number]:
            is_same_data = dataset_name(run.study.data.source) == dataset_name(other.study.data.source)
            if is_same_data and not same_study(run.study, other.study, but=("name", "seed")):
                raise UserError(
                    f"{run.folder}: differs from {other.folder} in more than the seed, expected seeds of one study;"
                    " give only one of them"
                )
    return runs
