"""Runs learned attacks as tasks: workers compute their scores in each attack setting; these are stored and reused.

A classifier takes minutes, other attacks seconds. As tasks, they run in parallel. An interruption loses only tasks in
progress, and no classifier is trained again for a further attack or report.
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
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.executors import Executor
from pruneaudit.engine.learned_scores import ATTACK, SCORES_FILE, Learned
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.progress import Progress
from pruneaudit.engine.scheduler import TasksFailedError, carry_out
from pruneaudit.engine.store import Artifact, Store
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.study.lineage import release_of
from pruneaudit.study.parts import num_taken

ATTACK_SEMANTICS = 1


@dataclass(frozen=True, eq=False)
class Players:
    """The executor, device and progress display for learned attacks."""

    executor: Executor
    device: str
    """The device on which classifiers learn: `cpu`, `cuda` or `cuda:N`."""
    progress: Progress
    """The progress display; called for every attack setting."""


def learn(
    plan: Plan,
    store: Store,
    audit_data: AuditData,
    settings: Sequence[AttackSetting],
    players: Players,
    left_out: Collection[int] = (),
) -> Learned:
    """Runs the learned attacks that are not on disk yet; the store is open for writing.

    Args:
        plan: the plan of the study, whose models have been queried.
        store: the store with their answers.
        audit_data: the audit data of the study.
        settings: the attack settings of the study.
        players: runs the tasks.
        left_out: models to leave out.

    Raises:
        TasksFailedError: an attack failed.
        StorageError: the disk is full; finished parts are kept.
    """
    tasks = attack_tasks(plan, settings, left_out)
    if tasks:
        players.progress.say(f"attacks that learn: {len(tasks)}")
        attacking = Plan(plan.study, plan.audit_data, tuple(tasks))
        # Classifiers have no checkpoints.
        who = players.executor, players.device, players.progress
        work = carry_out(attacking, audit_data, store, *who, checkpoint_seconds=0)
        if work.failures:
            raise TasksFailedError(work.failures)
    return Learned({_key(task): store.path(task.artifact) for task in tasks})


def attack_tasks(plan: Plan, settings: Sequence[AttackSetting], left_out: Collection[int] = ()) -> list[Task]:
    """Returns a task for each learned attack in each attack setting that provides its needs."""
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
        if task.action not in ("forgetting", "start_saliency")  # which no learned attack reads
    }
    config = {
        "kind": ATTACK,
        "semantics_version": ATTACK_SEMANTICS,
        **shape,
        "release": setting.release,
        "references": setting.references,
        "seed": study.seed,
        # By role: the identity includes which release is attacked and which one the references belong to.
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
