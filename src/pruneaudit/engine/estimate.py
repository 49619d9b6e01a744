"""Estimates the disk space of a study before it runs, and checks that it is available."""

# M models, N samples

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from pruneaudit.compression.matrices import counted_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import COMPRESSED_FILE, EARLY_FILE, MASK_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.task_context import new_model

SMALL_FILES = 20_000
"""Disk blocks of the configuration, history, summary and seal of one artifact, in bytes."""
RESULT_BYTES = 10_000_000
"""Findings and report, without the scores."""
SCORE_BYTES = 8


def disk_bytes(plan: Plan, audit_data: AuditData, tasks: Sequence[Task]) -> int:
    """Estimates the bytes of the artifacts of `tasks`, to within a few percent.

    Args:
        plan: the plan of the study.
        audit_data: the audit data of the study.
        tasks: the tasks that are still to do.
    """
    num_samples, num_models = len(audit_data.y), plan.study.membership.num_models
    queries = plan.study.audit.queries
    answers = num_samples * (4 * audit_data.num_classes + (5 * queries if queries > 1 else 0))
    sizes = {
        "signals": answers,
        "sensitivity": answers,
        "forgetting": SCORE_BYTES * num_samples,
        "start_saliency": SCORE_BYTES * num_samples,
        "sample_scores": SCORE_BYTES * num_samples,
        # Scores of all models, and of the folds from which the attack learns its scale.
        "attack": 3 * SCORE_BYTES * num_samples * num_models,
    }
    weights, masks = _model_bytes(plan, audit_data) if any(task.action not in sizes for task in tasks) else (0, 0)
    total = 0
    for task in tasks:
        total += SMALL_FILES + sizes.get(task.action, weights)
        total += masks if MASK_FILE in task.artifact.files else 0
        total += weights if COMPRESSED_FILE in task.artifact.files else 0  # at most
        total += weights if EARLY_FILE in task.artifact.files else 0
    return total


def _model_bytes(plan: Plan, audit_data: AuditData) -> tuple[int, int]:
    """Returns the bytes of one model's weights, and of its mask."""
    first = next(task for task in plan.tasks if task.makes_model)  # a dense one, if there is any
    network = new_model(first.spec, audit_data, torch.Generator())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    return weights, sum(weight.numel() for weight in counted_weights(network).values())


def free_bytes(folder: Path) -> int:
    """Returns the free bytes on the disk of a folder, which need not exist yet."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def check_room(num_bytes: int, folder: Path) -> None:
    """Checks that `num_bytes` and the results fit into a run folder.

    Raises:
        UserError: there is not enough space.
    """
    needed, free = num_bytes + RESULT_BYTES, free_bytes(folder)
    if needed > free:
        raise UserError(
            f"{folder}: this needs about {needed / 1e6:,.0f} MB more, but only {free / 1e6:,.0f} MB are free there;"
            " free some space, or choose a folder on another disk with --out"
        )
