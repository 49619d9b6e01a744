"""The provenance of results: the facts that a report needs for reproduction."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import version
from typing import Any

from pruneaudit import __version__
from pruneaudit.attacks.groups import expand
from pruneaudit.data import SOURCES
from pruneaudit.data.audit_data import AuditData, copies_note
from pruneaudit.engine.plan import Plan

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


def study_provenance(plan: Plan, audit_data: AuditData, command: str) -> dict[str, Any]:
    """Returns the provenance with the study, its audit data and its protocol."""
    study = plan.study
    settings = study.model_dump(mode="json")
    settings["audit"]["attacks"] = [attack.model_dump(mode="json") for attack in expand(study.audit.attacks)]
    parts = (audit_data.canary, audit_data.holdout, audit_data.public, audit_data.is_copy)
    canaries, holdout, public, copies = (int(part.sum()) for part in parts)
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
            "num_samples": len(audit_data.y) - holdout - public - canaries - copies,
            "num_canaries": canaries,
            "num_holdout": holdout,
            "num_public": public,
            "num_copies": copies,
            "num_classes": audit_data.num_classes,
            "sha256": audit_data.sha256,
        },
        "warnings": [*copies_note(audit_data), *study.warnings()],
    }
