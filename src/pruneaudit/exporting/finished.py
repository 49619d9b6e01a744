"""Finished runs as other programs get them: the plan as it was carried out, and what is known of each release."""

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

from pruneaudit.data.population import Population
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.errors import UserError
from pruneaudit.files import SEALED_FILES, WEIGHTS_FILE, read_json
from pruneaudit.metrics import Estimate, PerVictim, two_way
from pruneaudit.metrics.arrays import spread
from pruneaudit.pipeline.assemble import release_signals
from pruneaudit.pipeline.log import LOG
from pruneaudit.pipeline.plan import Plan, Task
from pruneaudit.pipeline.store import SEAL, Store
from pruneaudit.published.pruning_mia import base_name, dataset_name, same_study, seed_suffix
from pruneaudit.registry import nearest
from pruneaudit.results import Results
from pruneaudit.run_folder import PLANNED_BY, STUDY_FILE, load_study, problems_of, recorded_plan
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Release, Study

ABOUT_FILE = "about.json"
_DONE = re.compile(r' event=done task=("(?:[^"\\]|\\.)*") seconds=(\d+(?:\.\d+)?)$')
"""A finished task in the log; the names of all tasks hold a space, and so are quoted."""


def finished_plan(run: Path) -> tuple[Plan, Population]:
    """The plan of a run as it was finished, and the population that lies in its folder.

    Raises:
        UserError: the run is not finished, or its study or population has changed since.
    """
    study = load_study(run)
    again = f"pruneaudit run {run / STUDY_FILE} --out {run.parent}"
    problems = problems_of(run)
    if problems[SEALED_FILES]:
        parts = [folder.parent.parent.name.rpartition("-")[0] for folder in sorted(run.glob(f"*/model-*/{SEAL}"))]
        there = ", ".join(f"{parts.count(name)} of {name}" for name in dict.fromkeys(parts)) or "none"
        raise UserError(f"{run}: the run is not finished (models that are there: {there}); finish it with: {again}")
    for name in (ABOUT_FILE, *PLANNED_BY):
        if problems.get(name):
            raise UserError(f"{run / name} {problems[name]}; run the study again: {again}")
    expected = read_json(run / ABOUT_FILE)["population"]["sha256"]
    population = Population.load(run / f"population-{expected[:8]}", mmap=True)
    if population.sha256 != expected:
        raise UserError(f"{run}: its population has changed; run the study again: {again}")
    return recorded_plan(study, run, population), population


def found_model(run: Path, plan: Plan, release: str, model_id: int) -> tuple[Task, Path]:
    """The task that made a model, and the folder where it lies.

    Raises:
        UserError: there is no such release or model, or it is damaged.
    """
    if release not in plan.releases:
        names = ", ".join(plan.releases)
        raise UserError(f"{run}: no release '{release}'{nearest(release, plan.releases)}; expected one of: {names}")
    store = Store(run)
    tasks = {task.model_id: task for task in plan.models(release)}
    status, reason = store.status(tasks[model_id].artifact) if model_id in tasks else ("missing", "")
    if status == "damaged":
        raise UserError(
            f"{store.path(tasks[model_id].artifact)}: damaged ({reason}); run the study again, it mends this"
        )
    if status == "missing":
        there = [number for number, task in tasks.items() if store.status(task.artifact)[0] == "whole"]
        shown = ", ".join(map(str, there if len(there) <= 8 else [*there[:3], "...", there[-1]]))
        raise UserError(f"{run}: release '{release}' has no model {model_id}; there are: {shown or 'none'}")
    if WEIGHTS_FILE in store.dropped(tasks[model_id].artifact):
        there = [number for number, task in tasks.items() if not store.dropped(task.artifact)]
        raise UserError(
            f"{run}: the weights of model {model_id} of '{release}' were not kept (keep_weights = false); take model"
            f" {there[0] if there else 0}, or train them again with: pruneaudit run {run / STUDY_FILE}"
            f" --out {run.parent} --set keep_weights=true"
        )
    return tasks[model_id], store.path(tasks[model_id].artifact)


def nonmember_loss(signals: Signals) -> PerVictim:
    """The mean cross-entropy of each victim on its non-members, canaries left out, in nats; NaN where it has none."""
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
    population: Population
    results: Results
    """Of the run itself, or of other attacks on what it has stored."""

    @classmethod
    def load(cls, folder: Path, results: Results | None = None) -> Finished:
        """A run from its folder.

        Args:
            folder: the run's.
            results: what was found; default: the run's own tables.

        Raises:
            UserError: the run is not finished, or damaged.
        """
        plan, population = finished_plan(folder)
        return cls(folder, plan, population, Results.load_sealed(folder) if results is None else results)

    @property
    def study(self) -> Study:
        """What was asked."""
        return self.plan.study

    @property
    def releases(self) -> tuple[str, ...]:
        """The releases that were audited, `dense` first."""
        return tuple(map(str, self.results.releases["release"]))

    def release(self, name: str) -> Release | None:
        """A release as the study describes it; None for `dense`."""
        return next((release for release in self.study.releases if release.name == name), None)

    @cached_property
    def left_out(self) -> set[int]:
        """Models of which a part is missing; the audit has left them out of every release."""
        tasks = [task for task in self.plan.tasks if task.release in self.releases]
        missing = {task.model_id for task in tasks if not (self.folder / task.artifact.folder / SEAL).is_file()}
        return without_broken_groups(self.study.membership, missing)

    def tasks(self, release: str) -> list[Task]:
        """The tasks that made those models of a release that were attacked."""
        membership, left_out = self.study.membership, self.left_out
        tasks = self.plan.models(release)
        return [task for task in tasks if membership.is_victim(task.model_id) and task.model_id not in left_out]

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long each task took, by its name, as the run's log says; of one that was done again, the last time.

        A training that went on from a checkpoint counts from there. Empty where there is no log.
        """
        try:
            lines = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        return {json.loads(found[1]): float(found[2]) for line in lines if (found := _DONE.search(line))}

    @cached_property
    def losses(self) -> dict[str, Estimate]:
        """The mean cross-entropy of non-members, in nats, by release: the mean over models, with its interval."""
        found = {}
        for release in self.releases:
            signals = release_signals(self.plan, Store(self.folder), self.population, release, self.left_out)
            found[release] = two_way(*nonmember_loss(signals), bounds=(0.0, np.inf))
        return found

    def row(self, release: str) -> dict[str, Any]:
        """The release's row of the table of releases."""
        rows = self.results.releases
        return dict(rows[rows["release"] == release].iloc[0])


def all_seeds(study: Study, out: Path) -> list[Finished]:
    """The finished runs of a study under all seeds, this one included, by seed.

    Args:
        study: one of them.
        out: the folder of their run folders.

    Raises:
        UserError: this study's own run is not finished, or damaged.
    """
    runs = {study.seed: Finished.load(out / study.name)}
    for file in sorted(out.glob(f"{escape(base_name(study))}*/{STUDY_FILE}")):
        with suppress(UserError):  # another seed's run that is under way, or damaged, takes no part
            other = load_study(file.parent)
            is_named = other.name == file.parent.name == base_name(study) + seed_suffix(other.seed)
            if is_named and same_study(other, study, but=("name", "seed")):
                runs.setdefault(other.seed, Finished.load(file.parent))
    return [run for _, run in sorted(runs.items())]


def load_runs(folders: Sequence[str | Path]) -> list[Finished]:
    """Finished runs that shall stand in the same tables.

    Raises:
        UserError: one is not finished or damaged, or two are on the same data and differ in more than the seed.
    """
    runs = [Finished.load(Path(folder)) for folder in folders]
    for number, run in enumerate(runs):
        for other in runs[:number]:
            is_same_data = dataset_name(run.study.data.source) == dataset_name(other.study.data.source)
            if is_same_data and not same_study(run.study, other.study, but=("name", "seed")):
                raise UserError(
                    f"{run.folder}: differs from {other.folder} in more than the seed, expected seeds of one study;"
                    " give one of them at a time"
                )
    return runs
