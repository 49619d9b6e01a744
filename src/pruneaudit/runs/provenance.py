"""The provenance of results: the facts that a report needs for reproduction."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit import __version__
from pruneaudit.attacks.groups import expand
from pruneaudit.data import SOURCES
from pruneaudit.data.audit_data import AuditData, copies_note, left_out_note
from pruneaudit.data.splits import Splits
from pruneaudit.data.token_counts import numbers_of
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.target_files import TARGET_ID
from pruneaudit.evaluation.data_checks import DATA_CHECKS, target_data_checks, target_data_notes

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors")


def provenance(command: str) -> dict[str, Any]:
    """Returns the machine, the versions of all relevant libraries, and the command."""
    versions = {name: version(name) for name in LIBRARIES}
    return {
        "versions": {"pruneaudit": __version__, "python": platform.python_version(), **versions},
        "platform": platform.platform(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "demonstration": False,
        "warnings": [],
        "failures": [],
    }


UNEVEN = 0.05
"""A larger relative difference of a reference's training set from the target's gives a warning."""


def target_provenance(plan: Plan, splits: Splits) -> dict[str, Any]:
    """Returns the facts about a target, and warnings about the sizes of its references' training sets; empty without.

    Args:
        plan: the plan of the study.
        splits: the membership of all models.
    """
    if not plan.files:
        return {}
    sizes = splits.member.sum(axis=1)
    own, others = int(sizes[TARGET_ID]), np.delete(sizes, TARGET_ID)
    told: dict[str, Any] = {
        "name": Path(plan.files[0].file).name,
        "files": {file.release: {"name": Path(file.file).name, "sha256": file.sha256} for file in plan.files},
        "num_members": own,
        "num_references": len(others),
    }
    if len(others):
        spread = {"sd": float(others.std()), "min": int(others.min()), "max": int(others.max())}
        told["reference_members"] = {"mean": float(others.mean()), **spread}
    return told


def target_notes(told: Mapping[str, Any]) -> list[str]:
    """Returns a warning if a reference has clearly more or fewer members than the target.

    Args:
        told: from `target_provenance`.
    """
    sizes, own = told.get("reference_members"), told.get("num_members", 0)
    if not sizes or max(own - sizes["min"], sizes["max"] - own) <= UNEVEN * own:
        return []
    return [
        f"references have {sizes['min']:,} to {sizes['max']:,} members, and the target {own:,}: a difference of more"
        f" than {UNEVEN:.0%} can change how much is memorised; audit fewer of the members with a lower data.num_samples"
    ]


def with_target(facts: Mapping[str, Any], plan: Plan, splits: Splits, audit_data: AuditData) -> dict[str, Any]:
    """Returns the facts that a target adds to those of a study: `target`, `data_checks`, and `warnings` about it.

    Args:
        facts: from `study_provenance`.
        plan: the plan of the study.
        splits: the membership of all models.
        audit_data: the audit data of the study.
    """
    told = target_provenance(plan, splits)
    if not told:
        return {}
    checks = inputs_of_target(plan, audit_data)
    warnings = [*facts["warnings"], *target_notes(told), *target_data_notes(checks)]
    return {"target": told, DATA_CHECKS: checks, "warnings": warnings}


def inputs_of_target(plan: Plan, audit_data: AuditData) -> list[dict[str, Any]]:
    """Returns the checks of the data: a classifier that sees only inputs tries to recognise the target's members.

    Args:
        plan: the plan of a study with a target.
        audit_data: its audit data.
    """
    counted = audit_data.coined & ~audit_data.canary & ~audit_data.is_copy
    assert audit_data.target_member is not None
    return target_data_checks(numbers_of(audit_data), audit_data.y, audit_data.target_member, counted, plan.study.seed)


def target_lines(facts: Mapping[str, Any]) -> list[str]:
    """Returns a line on the training sets of the references; none without a target."""
    told = facts.get("target") or {}
    if not (sizes := told.get("reference_members")):
        return []
    return [
        f"references: {sizes['mean']:,.0f} members on average (SD {sizes['sd']:,.0f}, {sizes['min']:,} to"
        f" {sizes['max']:,}); target {told['name']}: {told['num_members']:,}"
    ]


def study_provenance(plan: Plan, audit_data: AuditData, command: str) -> dict[str, Any]:
    """Returns the provenance with the study, its audit data and its protocol."""
    study = plan.study
    settings = study.model_dump(mode="json")
    settings["audit"]["attacks"] = [attack.model_dump(mode="json") for attack in expand(study.audit.attacks)]
    parts = (audit_data.canary, audit_data.holdout, audit_data.public, audit_data.is_copy, audit_data.is_kept)
    canaries, holdout, public, copies, kept = (int(part.sum()) for part in parts)
    return provenance(command) | {
        "study": settings,
        "name": study.name,
        "added_baselines": list(plan.added),
        "description": study.description,
        "protocol": study.membership.protocol,
        "num_models": study.membership.num_models,
        "seeds": [study.seed],
        "audit_data": {
            "name": study.data.source.label,
            "public": SOURCES.get(study.data.source.name).is_public,
            "num_samples": len(audit_data.y) - holdout - public - canaries - copies - kept,
            "num_canaries": canaries,
            "num_holdout": holdout,
            "num_public": public,
            "num_copies": copies,
            **({"num_kept": kept, "num_left_out": audit_data.num_left_out} if study.target else {}),
            "num_classes": audit_data.num_classes,
            "sha256": audit_data.sha256,
            **({"tokens": token_facts(audit_data)} if audit_data.kind == "tokens" else {}),
        },
        "warnings": [
            *copies_note(audit_data),
            *left_out_note(audit_data),
            *audit_data.notes,
            *study.warnings(),
        ],
    }


def token_facts(audit_data: AuditData) -> dict[str, Any]:
    """Returns the facts about texts: T, their lengths, the ids, and the SHA-256 of the tokenizer (empty: unknown)."""
    assert audit_data.lengths is not None and audit_data.vocabulary is not None
    tokenizer = audit_data.tokenizer.encode("utf-8")
    return {
        "max_length": int(audit_data.x.shape[1]),
        "mean_length": float(audit_data.lengths.mean()),
        "share_full": float((audit_data.lengths == audit_data.x.shape[1]).mean()),
        "vocabulary_size": audit_data.vocabulary.size,
        "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest() if tokenizer else "",
    }
