"""Assembles the input of an audit from the artifacts on disk."""

# M models, N samples, C classes

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.attacks.groups import skips
from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.data.audit_data import AuditData, holdout_halves
from pruneaudit.data.features import input_features
from pruneaudit.data.membership import read_membership
from pruneaudit.data.splits import Splits
from pruneaudit.data.token_counts import numbers_of
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.dp_sgd_bounds import dp_sgd_bounds
from pruneaudit.engine.family_audit import audit_families, canary_bounds, families_there, with_private_families
from pruneaudit.engine.family_epsilon import FAMILY_EPSILON, family_epsilons
from pruneaudit.engine.plan import Action, Plan, Task
from pruneaudit.engine.store import Store
from pruneaudit.evaluation import Audit, bank_settings
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import SIZE_COLUMNS
from pruneaudit.evaluation.comparison_plan import ComparisonPlan
from pruneaudit.evaluation.evaluating import Known, Measuring, Recall, evaluate, with_ratios
from pruneaudit.evaluation.family_canaries import with_family_canaries
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Release, Study
from pruneaudit.study.baselines import baselines
from pruneaudit.study.lineage import (
    compression_of,
    counterparts,
    defenses_of,
    origin_of,
    own_file,
    release_of,
    repeats,
)
from pruneaudit.study.outputs import Outputs
from pruneaudit.study.parts import MIN_HOLDOUT, num_taken

Folders = Mapping[tuple[Action, int], Path]
"""The folders with the answers of one release, by query and model."""
ANSWERS: tuple[Action, ...] = ("signals", "sensitivity", "forgetting", "start_saliency")
"""The queries of a release's models, and of their copies."""


def answer_tasks(plan: Plan, release: str, left_out: Collection[int] = ()) -> list[Task]:
    """Returns the tasks that query the models of a release, without the models left out."""
    asked = [task for action in ANSWERS for task in plan.of(action, release)]
    return [task for task in asked if task.model_id not in left_out]


def release_signals(
    plan: Plan, store: Store, audit_data: AuditData, release: str, left_out: Collection[int] = ()
) -> Signals:
    """Returns the signals of a release's models, without the models left out and without features of the inputs."""
    tasks, membership = answer_tasks(plan, release, left_out), plan.study.membership
    folders = {(task.action, task.model_id): store.path(task.artifact) for task in tasks}
    splits = read_membership(store.root, membership.num_models, len(audit_data.y))
    holdout = audit_data.untouched_holdout(num_taken(plan.study, release_of(plan.study, release)))
    return signals_in(folders, splits, membership.protocol, plan.study.audit.queries, audit_data, holdout)


def signals_in(
    folders: Folders, splits: Splits, protocol: str, num_queries: int, audit_data: AuditData, holdout: np.ndarray
) -> Signals:
    """Loads the signals of a release's models from the folders of their answers.

    Args:
        folders: the folders of the answers.
        splits: the splits of all models of the study, by model id.
        protocol: the protocol under which members were drawn.
        num_queries: number of queried views per sample.
        audit_data: the audit data of the study.
        holdout: (N,) bool, the holdout samples that did not influence the release.
    """
    model_ids = [model_id for action, model_id in folders if action == "signals"]

    def stacked(action: Action, key: str) -> np.ndarray | None:
        if (action, model_ids[0]) not in folders:
            return None
        files = [folders[action, model_id] / f"{key}.npy" for model_id in model_ids]
        return np.stack([np.load(file, mmap_mode="r", allow_pickle=False) for file in files])

    several = num_queries > 1
    splits, grouped = splits.rows(model_ids), protocol != "pooled"
    return Signals(
        logits=stacked("signals", "logits"),
        labels=audit_data.y,
        member=splits.member,
        eligible=splits.eligible,
        is_victim=splits.is_victim if grouped else None,
        group=splits.group if grouped else None,
        confidence=stacked("signals", "confidence") if several else None,
        correct=stacked("signals", "correct") if several else None,
        sensitivity=stacked("sensitivity", "sensitivity"),
        forgotten=stacked("forgetting", "forgotten"),
        start_saliency=stacked("start_saliency", "start_saliency"),
        canary=audit_data.canary,
        copy=audit_data.is_copy if audit_data.copy_of is not None else None,
        holdout=holdout,
        ids=audit_data.ids,
        model_ids=np.array(model_ids),
    )


def release_facts(plan: Plan, store: Store, release: str, left_out: Collection[int] = ()) -> dict[str, Any]:
    """Returns facts about a release other than its leakage: means over its victims, without those left out."""
    described = release_of(plan.study, release)

    def summaries_of(name: str) -> list[dict[str, Any]]:
        return [
            json.loads((store.path(task.artifact) / SUMMARY_FILE).read_text())
            for task in plan.models(name)
            if task.model_id not in left_out and plan.study.membership.is_victim(task.model_id)
        ]

    def mean_of(summaries: Sequence[Mapping[str, Any]], key: str) -> float:
        return float(np.mean([summary.get(key, np.nan) for summary in summaries]))

    mean = partial(mean_of, summaries_of(release))

    facts: dict[str, Any] = {"compress": "", "origin": "own-dense", "parameters": mean("parameters")}
    facts |= {column: mean(column) for column in SIZE_COLUMNS}
    if described is not None and described.compressed_bytes:
        facts |= {"compressed_bytes": float(described.compressed_bytes), "effective_bits": float("nan")}
    if described is not None and described.model and not described.has_teacher:
        # Its own task does not know the study's dense networks, of whose weights bits are counted.
        facts["effective_bits"] *= mean("dense_weights") / mean_of(summaries_of(DENSE), "matrix_weights")
    if described is None:
        return facts | {
            "origin": "init",
            "sparsity": 0.0,
            "sparsity_all": 0.0,
            "nonzero_parameters": mean("nonzero_parameters"),
        }
    trained = described.finetune or origin_of(described) == "init"
    return facts | {
        "compress": compression_of(plan.study, described) or own_file(described),
        "defense": "+".join(plugin.label for plugin in defenses_of(plan.study, described)),
        "origin": origin_of(described),
        "sparsity": mean("sparsity"),
        "sparsity_all": mean("sparsity_all"),
        "nonzero_parameters": mean("nonzero_parameters"),
        "test_accuracy_before": mean("test_accuracy_before"),
        "test_accuracy_after_pruning": mean("test_accuracy_after_pruning"),
        "test_accuracy_after_finetuning": mean("test_accuracy") if trained and not described.weights else float("nan"),
    }


def is_finetuned_dense(release: Release) -> bool:
    """Returns whether a release is the dense model with extra fine-tuning and nothing else."""
    if release.weights:
        return False
    return not release.compress and release.finetune is not None and not release.defense and release.parent == DENSE


def compared_with_all(study: Study) -> list[str]:
    """Returns the releases to compare with every release: dense, and the first fine-tuned dense release."""
    sanity_checks = [release.name for release in study.releases if is_finetuned_dense(release)]
    return [DENSE, *sanity_checks[:1]] if study.releases else []


def undefended_dense(study: Study) -> list[str]:
    """Returns the baselines of the frontier: releases without compression or defence, also in their ancestors."""
    own = [release for release in study.releases if not release.weights]
    untouched = [r for r in own if not compression_of(study, r) and not defenses_of(study, r)]
    return [DENSE, *(release.name for release in untouched)]


def without_defense(study: Study) -> list[str]:
    """Returns the candidates at equal size: releases without a defence, also in their ancestors.

    Nobody says whether a user's file without a recipe is defended, so it is none.
    """
    own = [release for release in study.releases if not release.is_file_alone]
    return [DENSE, *(release.name for release in own if not defenses_of(study, release))]


def study_settings(
    plan: Plan, store: Store, audit_data: AuditData, left_out: Collection[int] = ()
) -> list[AttackSetting]:
    """Returns the attack settings of a study whose signals are on disk; `left_out` as for `audit_study`."""
    read = signals_reader(plan, store, audit_data, left_out)
    signals = {release: read(release) for release in plan.releases}
    return bank_settings(signals, plan.study.audit.references, counterparts(plan.study))


def signals_reader(
    plan: Plan, store: Store, audit_data: AuditData, left_out: Collection[int] = ()
) -> Callable[[str], Signals]:
    """Returns a function from a release to its signals on disk, with all that the attacks of the study need.

    Args:
        plan: the plan of the study; the signals are of the models that it asks.
        store: the store.
        audit_data: the audit data of the study.
        left_out: models to leave out.
    """
    needs = frozenset(need for attack in attacks_of(plan.study).values() for need in attack.needs)
    told: dict[str, Any] = {}
    fitting = holdout_halves(audit_data.holdout, audit_data.ids)[0]
    if "features" in needs and fitting.sum() >= MIN_HOLDOUT:
        told["features"] = input_features(numbers_of(audit_data, fitting), fitting)

    def read(release: str) -> Signals:
        found = release_signals(plan, store, audit_data, release, left_out)
        further = told | _structure(plan, store, audit_data, release, left_out) if "structure" in needs else told
        return replace(found, **further) if further else found

    return read


def _structure(
    plan: Plan, store: Store, audit_data: AuditData, release: str, left_out: Collection[int]
) -> dict[str, Any]:
    """Returns the key `structure` of a release's signals, if its networks have any."""
    from pruneaudit.engine.released_structure import released_structure  # imports torch

    found = released_structure(plan, store, audit_data, release, left_out)
    return {} if found is None else {"structure": found}


def audit_study(
    plan: Plan,
    store: Store,
    settings: Sequence[AttackSetting],
    about: Mapping[str, Any],
    left_out: Collection[int] = (),
    recall: Recall = lambda label, setting: None,
) -> Audit:
    """Audits a study whose signals are on disk.

    Args:
        plan: the tasks of the study.
        store: the store with their results.
        settings: from `study_settings`.
        about: the provenance of the results.
        left_out: models with a missing part; they are left out of every release, so that all releases
            are compared on the same models.
        recall: returns the stored outputs of learned attacks.
    """
    study = plan.study
    own = {name: baseline.name for name, baseline in baselines(study).items() if baseline.name}
    facts = with_ratios({name: release_facts(plan, store, name, left_out) for name in plan.releases}, DENSE)
    families, missing = families_there(study, plan.releases)
    tables, notes = audit_families(study, settings, families)
    epsilons = family_epsilons(plan, store, families, left_out)
    about = {**about, "warnings": [*about.get("warnings", []), *missing, *notes]}
    about |= {FAMILY_EPSILON: epsilons} if epsilons else {}
    known = Known(
        ComparisonPlan(
            tuple(compared_with_all(study)),
            own,
            counterparts(study),
            tuple(undefended_dense(study)),
            tuple(without_defense(study)),
            repeats(study),
        ),
        facts,
        about,
    )
    bounds = replace(canary_bounds(study), curves=dp_sgd_bounds(plan, store, left_out))
    measuring = Measuring(study.seed, study.audit.fpr_levels, bounds, [*map(Outputs.parse, study.audit.outputs)])
    found = evaluate(settings, attacks_of(study), measuring, known, skips(study.audit.attacks), recall)
    together = with_private_families(families, epsilons)
    planted = with_family_canaries(found.results.canaries, settings, together, bounds, study.seed)
    return replace(found, results=found.results.with_tables(tables | {"canaries": planted}))
