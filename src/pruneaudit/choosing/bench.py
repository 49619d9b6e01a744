"""The bench for candidates: makes and queries some models of some candidates, and attacks them.

A trial is an ordinary part of the run: the same tasks, under the same identities, as in a run of a study that lists the
candidate as a release. So a repeated trial is found on disk, an interrupted one continues, and any executor can run it.

Only the models that are named are planned, loaded and attacked, as victims and as references.
"""

# V victims, N samples

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruneaudit.choosing.description import described
from pruneaudit.choosing.halves import FEWEST_VICTIMS, Halves
from pruneaudit.choosing.measuring import for_pairs, levels_of, play_attacks, unattacked
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import without_broken_groups
from pruneaudit.engine.assemble import signals_reader
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.executors import Executor
from pruneaudit.engine.learning import Players, learn
from pruneaudit.engine.plan import Plan, make_plan
from pruneaudit.engine.progress import Progress
from pruneaudit.engine.scheduler import TasksFailedError, Work, carry_out
from pruneaudit.engine.sources import add_sources
from pruneaudit.engine.store import Store
from pruneaudit.engine.target_files import TARGET_ID
from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.candidate_tests import Played, largest_leakage, tests_of
from pruneaudit.evaluation.certificate import Candidate
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.measure import Accuracies, Measured, accuracies
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Release, Study
from pruneaudit.study.audit import MATCHED, UNDEFENDED
from pruneaudit.study.lineage import counterparts
from pruneaudit.study.user_function import SourceHash

Gate = Callable[[Candidate], bool]
"""Decides from accuracy and sizes whether a candidate is attacked."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate on some models."""

    models: tuple[int, ...]
    candidate: Candidate
    """With its tests."""
    accuracies: Accuracies
    """Of every victim, for paired comparisons."""
    measured: Mapping[Played, Measured]
    """By attack and kind of references, likewise, with limited figures only; empty if it was not attacked."""


@dataclass(frozen=True, eq=False)
class Tried:
    """Several candidates on the same models."""

    models: tuple[int, ...]
    """The models that all of them have."""
    trials: dict[str, Trial]
    failed: dict[str, str]
    """Why candidates could not be made or attacked, by name."""
    num_references: int
    """The smallest number of references of any victim; 0 if nothing was attacked."""


@dataclass(frozen=True, eq=False)
class Machine:
    """What makes the models."""

    store: Store
    executor: Executor
    device: str
    progress: Progress
    checkpoint_seconds: float


@dataclass(frozen=True, eq=False)
class Bench:
    """Tries candidates."""

    study: Study
    """The study; its attacks are those of the search, and its releases are those that candidates can start from."""
    candidates: Mapping[str, Release | None]
    """All candidates by name; None: the uncompressed network."""
    halves: Halves
    audit_data: AuditData
    limits: Limits
    source_hash: SourceHash
    machine: Machine

    def plan(self, names: Collection[str]) -> Plan:
        """Plans all models of some candidates, without baselines.

        Raises:
            UserError: a candidate needs something that its plug-ins or the data do not support.
        """
        return make_plan(self._study_of(names), self.audit_data, self.source_hash, is_whole=False)

    def planned(self, names: Collection[str], models: Collection[int]) -> Plan:
        """Plans what is asked of some models of some candidates, and all that this needs."""
        plan = self.plan(names)
        beside = [other for name in names for other in self._beside(plan, name)]
        return plan.only(models, {*names, *beside})

    def tried(self, names: Sequence[str], models: Sequence[int], gate: Gate) -> Tried:
        """Makes, queries and attacks some candidates.

        Args:
            names: the candidates.
            models: the models; each victim among them has the others as references.
            gate: which candidates are attacked.

        Raises:
            UserError: a candidate asks for something impossible, or an attack lacks an input.
            TasksFailedError: too few models are left.
        """
        plan, machine = self.planned(names, models), self.machine
        add_sources(plan, machine.store.root)
        pace = machine.device, machine.progress, machine.checkpoint_seconds
        work = carry_out(plan, self.audit_data, machine.store, machine.executor, *pace)
        lost, left_out = self._lost(work, models)
        failed = dict.fromkeys((name for name in names if name in lost), "its models could not be made; see run.log")
        with one_blas_thread():
            return self._measured(plan, [name for name in names if name not in lost], left_out, failed, gate)

    def _study_of(self, names: Collection[str]) -> Study:
        """Returns the study with some candidates as releases, and the releases that they, or references, need."""
        chosen = {name: release for name in names if (release := self.candidates[name]) is not None}
        needed = {release.parent for release in chosen.values()} | set(self.study.audit.references)
        for release in reversed(self.study.releases):
            needed |= {release.parent} if release.name in needed else set()
        before = [release for release in self.study.releases if release.name in needed - chosen.keys()]
        return self.study.model_copy(update={"releases": (*before, *chosen.values())})

    def _beside(self, plan: Plan, name: str) -> list[str]:
        """Returns the other releases whose answers an attacker of a candidate has, `dense` first."""
        found = {kind for kind in self.study.audit.references if kind not in (MATCHED, UNDEFENDED)}
        if UNDEFENDED in self.study.audit.references:
            found.add(counterparts(plan.study).get(name, name))
        if any("two releases" in attack.needs for attack in attacks_of(self.study).values()):
            found.add(DENSE)
        return sorted(found - {name}, key=lambda other: (other != DENSE, other))

    def _lost(self, work: Work, models: Sequence[int]) -> tuple[list[str], set[int]]:
        """Returns the candidates that failed, and the models to leave out of all others."""
        needed = (TARGET_ID,) if self.halves.has_target and TARGET_ID in models else ()
        lost, missing = work.lost(len(models), needed)
        left_out = without_broken_groups(self.study.membership, missing) if missing else set()
        left = [model for model in models if model not in left_out]
        is_victim = self.study.membership.is_victim
        victims = left if self.halves.has_target else [model for model in left if is_victim(model)]
        if len(victims) < FEWEST_VICTIMS:  # of a target: itself and one reference
            raise TasksFailedError(work.failures)
        return lost, left_out

    def _measured(
        self, plan: Plan, names: Sequence[str], left_out: Collection[int], failed: dict[str, str], gate: Gate
    ) -> Tried:
        """Measures accuracies and sizes, and attacks those that pass the gate; adds unusable ones to `failed`."""
        models = sorted({task.model_id for task in plan.tasks if task.action == "signals"} - set(left_out))
        read = signals_reader(plan, self.machine.store, self.audit_data, left_out)
        known: dict[str, Signals] = {}

        def signals(name: str) -> Signals:
            """The answers of a release; without the target, its references are the victims."""
            if name not in known:
                found = read(name)
                are_all_victims = self.halves.has_target and TARGET_ID not in models
                is_victim = np.ones(found.num_models, dtype=bool)
                known[name] = replace(found, is_victim=is_victim) if are_all_victims else found
            return known[name]

        trials: dict[str, Trial] = {}
        settings: dict[str, list[AttackSetting]] = {}
        for name in names:
            try:
                trials[name] = self._trial(plan, name, signals(name))
                if gate(trials[name].candidate):
                    parts = {each: signals(each) for each in (*self._beside(plan, name), name)}
                    settings[name] = self._settings(plan, name, parts)
            except UserError as error:  # such as networks that all give the same answers
                failed[name] = str(error)
                trials.pop(name, None)
        trials |= self._attacked(plan, trials, settings, left_out)
        every = [setting for own in settings.values() for setting in own]
        counts = [int(count) for setting in every for count in setting.attack_input.allowed.sum(axis=1)]
        return Tried(tuple(models), trials, failed, min(counts, default=0))

    def _trial(self, plan: Plan, name: str, signals: Signals) -> Trial:
        """Returns a candidate with its accuracy and sizes: of the largest of its victims."""
        victims = set(signals.model_names[signals.victims].tolist())
        folders = [self.machine.store.path(t.artifact) for t in plan.models(name) if t.model_id in victims]
        summaries = [json.loads((folder / SUMMARY_FILE).read_text()) for folder in folders]
        found = accuracies(signals)
        candidate = Candidate(
            name=name,
            description=described(self.candidates[name]),
            tests=tests_of(self.limits, found, {}, self.study.seed),
            bytes=_largest(summaries, "compressed_bytes"),
            macs=_largest(summaries, "macs"),
        )
        return Trial(tuple(signals.model_names.tolist()), candidate, found, {})

    def _settings(self, plan: Plan, name: str, signals: Mapping[str, Signals]) -> list[AttackSetting]:
        found = bank_settings(signals, self.study.audit.references, counterparts(plan.study))
        return [setting for setting in found if setting.release == name]

    def _attacked(
        self,
        plan: Plan,
        trials: Mapping[str, Trial],
        settings: Mapping[str, Sequence[AttackSetting]],
        left_out: Collection[int],
    ) -> dict[str, Trial]:
        """Returns the trials of candidates that have attack settings, with their leakage."""
        if not settings:
            return {}
        machine, attacks = self.machine, attacks_of(self.study)
        players = Players(machine.executor, machine.device, machine.progress)
        every = [setting for own in settings.values() for setting in own]
        learned = learn(plan, machine.store, self.audit_data, every, players, left_out)
        found: dict[str, Trial] = {}
        for name, own in settings.items():
            trial, levels = trials[name], levels_of(self.limits)
            measured = play_attacks(own, attacks, levels, self.study.seed, learned.recall)
            tests = tests_of(self.limits, trial.accuracies, measured, self.study.seed)
            if not measured:
                tests = (*tests, *unattacked(self.limits))
            told = {"tests": tests, "leakage": largest_leakage(tests, self.limits)}
            candidate = trial.candidate.model_copy(update=told)
            found[name] = replace(trial, candidate=candidate, measured=for_pairs(measured, self.limits))
        return found


def _largest(summaries: Iterable[Mapping[str, float | None]], key: str) -> float | None:
    """Returns the largest of a size over models; None if one of them does not have it."""
    values = [summary.get(key) for summary in summaries]
    known = [float(value) for value in values if value is not None and np.isfinite(value)]
    return max(known) if known and len(known) == len(values) else None
