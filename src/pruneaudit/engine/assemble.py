"""From what is on disk to what an audit takes."""

# M models, N samples, C classes

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.attacks.groups import skips
from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import read_membership
from pruneaudit.data.splits import Splits
from pruneaudit.engine.plan import Action, Plan, Task, attacks_of
from pruneaudit.engine.store import Store
from pruneaudit.evaluation import Audit, bank_settings
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.canaries import Bounds
from pruneaudit.evaluation.columns import SIZE_COLUMNS
from pruneaudit.evaluation.comparison_plan import ComparisonPlan
from pruneaudit.evaluation.evaluating import Known, Measuring, Recall, evaluate
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Release, Study
from pruneaudit.study.baselines import baselines
from pruneaudit.study.lineage import compression_of, counterparts, defenses_of, origin_of, release_of, repeats
from pruneaudit.study.parts import num_taken

Folders = Mapping[tuple[Action, int], Path]
"""Where the answers of one release lie, by query (`signals`, `sensitivity`) and model."""


def answer_tasks(plan: Plan, release: str, left_out: Collection[int] = ()) -> list[Task]:
    """The tasks that ask the models of a release, but for those left out."""
    asked = [*plan.of("signals", release), *plan.of("sensitivity", release)]
    return [task for task in asked if task.model_id not in left_out]


def release_signals(
    plan: Plan, store: Store, audit_data: AuditData, release: str, left_out: Collection[int] = ()
) -> Signals:
    """The signals of the models of a release, but for those left out."""
    tasks, membership = answer_tasks(plan, release, left_out), plan.study.membership
    folders = {(task.action, task.model_id): store.path(task.artifact) for task in tasks}
    splits = read_membership(store.root, membership.num_models, len(audit_data.y))
    nulls = audit_data.nulls(num_taken(plan.study, release_of(plan.study, release)))
    return signals_in(folders, splits, membership.protocol, plan.study.audit.queries, audit_data, nulls)


def signals_in(
    folders: Folders, splits: Splits, protocol: str, num_queries: int, audit_data: AuditData, nulls: np.ndarray
) -> Signals:
    """The signals of a release's models, from the folders of their answers.

    Args:
        folders: where they lie.
        splits: of all models of the study, by model id.
        protocol: under which members were drawn.
        num_queries: views of each sample that the models were asked about.
        audit_data: the study's.
        nulls: (N,) bool, the holdout samples that have not shaped the release.
    """
    model_ids = [model_id for action, model_id in folders if action == "signals"]

    def stacked(action: Action, key: str) -> np.ndarray:
        files = [folders[action, model_id] / f"{key}.npy" for model_id in model_ids]
        return np.stack([np.load(file, mmap_mode="r", allow_pickle=False) for file in files])

    several = num_queries > 1
    splits, grouped = splits.rows(model_ids), protocol == "disjoint"
    return Signals(
        logits=stacked("signals", "logits"),
        labels=audit_data.y,
        member=splits.member,
        eligible=splits.eligible,
        is_victim=splits.is_victim if grouped else None,
        group=splits.group if grouped else None,
        confidence=stacked("signals", "confidence") if several else None,
        correct=stacked("signals", "correct") if several else None,
        sensitivity=stacked("sensitivity", "sensitivity") if ("sensitivity", model_ids[0]) in folders else None,
        canary=audit_data.canary,
        copy=audit_data.is_copy if audit_data.copy_of is not None else None,
        holdout=nulls,
        ids=audit_data.ids,
        model_ids=np.array(model_ids),
    )


def release_facts(plan: Plan, store: Store, release: str, left_out: Collection[int] = ()) -> dict[str, Any]:
    """What is known of a release beside its leakage: means over its victims, but for those left out."""
    described = release_of(plan.study, release)
    tasks = plan.models(release)
    summaries = [
        json.loads((store.path(task.artifact) / SUMMARY_FILE).read_text())
        for task in tasks
        if task.model_id not in left_out and plan.study.membership.is_victim(task.model_id)
    ]

    def mean(key: str) -> float:
        return float(np.mean([summary.get(key, np.nan) for summary in summaries]))

    facts: dict[str, Any] = {"compress": "", "origin": "own-dense", "parameters": mean("parameters")}
    facts |= {column: mean(column) for column in SIZE_COLUMNS}
    if described is None:
        return facts | {
            "origin": "init",
            "sparsity": 0.0,
            "sparsity_all": 0.0,
            "nonzero_parameters": mean("nonzero_parameters"),
        }
    trained = described.finetune or origin_of(described) == "init"
    return facts | {
        "compress": compression_of(plan.study, described),
        "defense": "+".join(plugin.label for plugin in defenses_of(plan.study, described)),
        "origin": origin_of(described),
        "sparsity": mean("sparsity"),
        "sparsity_all": mean("sparsity_all"),
        "nonzero_parameters": mean("nonzero_parameters"),
        "test_accuracy_before": mean("test_accuracy_before"),
        "test_accuracy_after_pruning": mean("test_accuracy_after_pruning"),
        "test_accuracy_after_finetuning": mean("test_accuracy") if trained else float("nan"),
    }


def is_finetuned_dense(release: Release) -> bool:
    """Whether a release is the dense model with extra fine-tuning and nothing else."""
    return not release.compress and release.finetune is not None and not release.defense and release.parent == DENSE


def compared_with_all(study: Study) -> list[str]:
    """What every release is compared with beside its own baseline: the dense models, and the first baseline."""
    sanity_checks = [release.name for release in study.releases if is_finetuned_dense(release)]
    return [DENSE, *sanity_checks[:1]] if study.releases else []


def undefended_dense(study: Study) -> list[str]:
    """The baseline of the frontier: releases that were neither compressed nor defended, and no parent of theirs was."""
    untouched = [r for r in study.releases if not compression_of(study, r) and not defenses_of(study, r)]
    return [DENSE, *(release.name for release in untouched)]


def study_settings(
    plan: Plan, store: Store, audit_data: AuditData, left_out: Collection[int] = ()
) -> list[AttackSetting]:
    """The attack settings of a study whose signals are on disk; `left_out` as for `audit_study`."""
    signals = {release: release_signals(plan, store, audit_data, release, left_out) for release in plan.releases}
    return bank_settings(signals, plan.study.audit.references, counterparts(plan.study))


def audit_study(
    plan: Plan,
    store: Store,
    settings: Sequence[AttackSetting],
    about: Mapping[str, Any],
    left_out: Collection[int] = (),
    recall: Recall = lambda label, setting: None,
) -> Audit:
    """The audit of a study whose signals are on disk.

    Args:
        plan: the study's tasks.
        store: where their results lie.
        settings: from `study_settings`.
        about: how the results came to be.
        left_out: models of which some part is missing; they are left out of every release, so that
            releases are compared on the same models.
        recall: what attacks that train have said already.
    """
    study = plan.study
    own = {name: baseline.name for name, baseline in baselines(study).items() if baseline.name}
    known = Known(
        ComparisonPlan(
            tuple(compared_with_all(study)), own, counterparts(study), tuple(undefended_dense(study)), repeats(study)
        ),
        {release: release_facts(plan, store, release, left_out) for release in plan.releases},
        about,
    )
    bounds = Bounds(study.audit.canary_guesses, study.audit.delta)
    measuring = Measuring(study.seed, study.audit.fpr_levels, bounds)
    return evaluate(settings, attacks_of(study), measuring, known, skips(study.audit.attacks), recall)
