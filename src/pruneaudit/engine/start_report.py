"""Reports the initial weights of a study's networks, and the matrices that low-rank adaptation added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import Store
from pruneaudit.study.base import BASE


def base_facts(plan: Plan, store: Store) -> dict[str, Any] | None:
    """Returns the facts about the base, as JSON data; None for a study without one.

    Args:
        plan: the plan of the study, whose tasks are done.
        store: the store with their results.

    Returns:
        `num_samples` (public ones), `epochs`, `train_accuracy` on them and `test_accuracy` on all others in [0, 1],
        `head` (kept or new), and `parameters`.
    """
    study = plan.study
    if study.base is None:
        return None
    [task] = plan.of("train", BASE)
    summary = json.loads((store.path(task.artifact) / SUMMARY_FILE).read_text(encoding="utf-8"))
    return {
        "num_samples": summary["num_members"],
        "epochs": study.base.epochs,
        "head": study.base.head,
        **{key: summary[key] for key in ("train_accuracy", "test_accuracy", "parameters")},
    }


def adapter_facts(folder: Path) -> dict[str, Any] | None:
    """Returns rank, layers, trained parameters and bytes of a network's adapter; None if it was trained in full.

    Args:
        folder: the artifact of the network.
    """
    found: dict[str, Any] | None = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8")).get("adapter")
    return found
