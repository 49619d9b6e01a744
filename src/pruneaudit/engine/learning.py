"""Attacks that learn, as tasks: their scores in each attack setting are artifacts, made by workers, kept and reused.

A classifier takes minutes where other attacks take seconds. As tasks they run beside one another, a kill loses those in
flight alone, and another attack, or another report, trains none of them again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pruneaudit.attacks.groups import expand
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.assemble import answer_tasks
from pruneaudit.engine.executors import Executor
from pruneaudit.engine.learned_scores import ATTACK, SCORES_FILE, Learned
from pruneaudit.engine.plan import Plan, Task, attacks_of
from pruneaudit.engine.progress import Progress
from pruneaudit.engine.scheduler import TasksFailedError, carry_out
from pruneaudit.engine.store import Artifact, Store
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.study.lineage import release_of
from pruneaudit.study.parts import num_taken

ATTACK_SEMANTICS = 1


@dataclass(frozen=True, eq=False)
class Players:
    """Who plays the attacks that learn."""

    executor: Executor
    device: str
    """Where classifiers learn: `cpu`, `cuda` or `cuda:N`."""
    progress: Progress
    """Told of every attack setting."""


def learn(
    plan: Plan,
    store: Store,
    audit_data: AuditData,
    settings: Sequence[AttackSetting],
    players: Players,
    left_out: Collection[int] = (),
) -> Learned:
    """Plays the attacks that learn, those that are not on disk yet; the store is open for writing.

    Args:
        plan: the study's, whose models have been asked.
        store: where their answers lie.
        audit_data: the study's.
        settings: of the study.
        players: who does the tasks.
        left_out: models that take no part.

    Raises:
        TasksFailedError: an attack could not be played.
        StorageError: the disk is full; what is finished is kept.
    """
    tasks = attack_tasks(plan, settings, left_out)
    if tasks:
        players.progress.say(f"attacks that learn: {len(tasks)}")
        attacking = Plan(plan.study, plan.audit_data, tuple(tasks))
        # Classifiers keep nothing in between.
        who = players.executor, players.device, players.progress
        work = carry_out(attacking, audit_data, store, *who, checkpoint_seconds=0)
        if work.failures:
            raise TasksFailedError(work.failures)
    return Learned({_key(task): store.path(task.artifact) for task in tasks})


def attack_tasks(plan: Plan, settings: Sequence[AttackSetting], left_out: Collection[int] = ()) -> list[Task]:
    """A task for each attack that learns in each attack setting that has what it needs."""
    ready = attacks_of(plan.study)
    tasks = []
    for plugin in expand(plan.study.audit.attacks):
        attack = ready[plugin.label]
        if attack.trains:
            named = {"name": plugin.name, "options": attack.options.model_dump(mode="json")}
            shape = {"attack": named | {"semantics_version": attack.semantics_version}, "label": plugin.label}
            tasks += [
                _task(plan, shape, setting, left_out) for setting in settings if not attack.lacks(setting.attack_input)
            ]
    return tasks


def _task(plan: Plan, shape: Mapping[str, Any], setting: AttackSetting, left_out: Collection[int]) -> Task:
    study = plan.study
    releases = dict.fromkeys((*setting.seen, *setting.owned))
    answers = {
        f"{release}/{task.action}/{task.model_id}": task.artifact
        for release in releases
        for task in answer_tasks(plan, release, left_out)
    }
    config = {
        "kind": ATTACK,
        "semantics_version": ATTACK_SEMANTICS,
        **shape,
        "release": setting.release,
        "references": setting.references,
        "seed": study.seed,
        # Role by role: which release is attacked, and which one the references are of, is part of what is done.
        "answers": {role: artifact.identity for role, artifact in answers.items()},
        "parents": [plan.audit_data.identity],
    }
    name = re.sub(r"[^A-Za-z0-9._+=-]", "_", f"{shape['label']}-{setting.release}-{setting.references}")[:120]
    artifact = Artifact(f"attacks/{name}-{sha256_of(config)[:8]}", config, (SCORES_FILE,))
    spec = {
        **shape,
        **{"release": setting.release, "references": setting.references, "seed": study.seed},
        **{"seen": list(setting.seen), "owned": list(setting.owned)},
        **{"protocol": study.membership.protocol, "queries": study.audit.queries},
        "taken": {release: num_taken(study, release_of(study, release)) for release in releases},
    }
    return Task("attack", setting.release, 0, artifact, {"audit_data": plan.audit_data, **answers}, spec)


def _key(task: Task) -> tuple[str, str, str]:
    return task.spec["label"], task.spec["release"], task.spec["references"]
