"""From what is on disk to what an audit takes."""

# M models, N samples, C classes

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pruneaudit.auditing import Audit, bank_games
from pruneaudit.auditing.audit import audit_games
from pruneaudit.auditing.game import DENSE
from pruneaudit.data.population import Population
from pruneaudit.data.splits import eligible, membership
from pruneaudit.pipeline.plan import Plan, attacks_of
from pruneaudit.pipeline.store import Store
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Release, Study


def release_signals(plan: Plan, store: Store, population: Population, release: str) -> Signals:
    """The signals of all models of a release."""
    study = plan.study
    folders = [store.path(task.artifact) for task in plan.of("signals", release)]

    def stacked(key: str) -> np.ndarray:
        return np.stack([np.load(folder / f"{key}.npy", mmap_mode="r", allow_pickle=False) for folder in folders])

    several = study.audit.queries > 1
    return Signals(
        logits=stacked("logits"),
        labels=population.y,
        member=membership(study.seed, len(folders), population.reserve),
        eligible=eligible(population.reserve, len(folders)),
        confidence=stacked("confidence") if several else None,
        correct=stacked("correct") if several else None,
        canary=population.canary,
        ids=population.ids,
        model_ids=np.arange(len(folders)),
    )


def release_facts(plan: Plan, store: Store, release: str) -> dict[str, Any]:
    """What is known of a release beside its leakage: means over its models."""
    described = next((entry for entry in plan.study.releases if entry.name == release), None)
    tasks = plan.of("train" if release == DENSE else "release", release)
    summaries = [json.loads((store.path(task.artifact) / "summary.json").read_text()) for task in tasks]

    def mean(key: str) -> float:
        return float(np.mean([summary.get(key, np.nan) for summary in summaries]))

    facts: dict[str, Any] = {"pruner": "", "origin": "own-dense", "parameters": mean("parameters")}
    if described is None:
        return facts | {"origin": "init", "sparsity": 0.0, "nonzero_parameters": mean("nonzero_parameters")}
    return facts | {
        "pruner": described.pruner.label if described.pruner else "",
        "sparsity": mean("sparsity"),
        "nonzero_parameters": mean("nonzero_parameters"),
        "test_accuracy_before": mean("test_accuracy_before"),
        "test_accuracy_after_pruning": mean("test_accuracy_after_pruning"),
        "test_accuracy_after_finetuning": mean("test_accuracy") if described.finetune else float("nan"),
    }


def is_control(release: Release) -> bool:
    """Whether a release is the dense model with extra fine-tuning and nothing else."""
    return release.pruner is None and release.finetune is not None


def baselines(study: Study) -> list[str]:
    """What every release is compared with: the dense models, and the first control."""
    controls = [release.name for release in study.releases if is_control(release)]
    return [DENSE, *controls[:1]] if study.releases else []


def audit_study(plan: Plan, store: Store, population: Population, about: Mapping[str, Any]) -> Audit:
    """The audit of a study whose signals are on disk; `about` says how it came to be."""
    study = plan.study
    signals = {release: release_signals(plan, store, population, release) for release in plan.releases}
    return audit_games(
        bank_games(signals, study.audit.knowledge),
        attacks_of(study),
        study.seed,
        study.audit.fpr_levels,
        baselines=baselines(study),
        facts={release: release_facts(plan, store, release) for release in plan.releases},
        about=about,
    )
