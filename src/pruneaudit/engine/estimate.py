"""How much disk a study will take, before it is run, and whether there is so much."""

# M models, N samples

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from pruneaudit.compression.matrices import counted_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import COMPRESSED_FILE, MASK_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.models import build_model

SMALL_FILES = 20_000
"""Configuration, history, summary and seal of one artifact, in blocks of a disk."""
RESULT_BYTES = 10_000_000
"""Findings and report, beside the scores."""
SCORE_BYTES = 8


def disk_bytes(plan: Plan, audit_data: AuditData, tasks: Sequence[Task]) -> int:
    """Bytes that the artifacts of `tasks` will take, to within some percent.

    Args:
        plan: the study's.
        audit_data: the study's.
        tasks: those that are still to be done.
    """
    num_samples, num_models = len(audit_data.y), plan.study.membership.num_models
    queries = plan.study.audit.queries
    answers = num_samples * (4 * audit_data.num_classes + (5 * queries if queries > 1 else 0))
    sizes = {
        "signals": answers,
        "sensitivity": answers,
        "sample_scores": SCORE_BYTES * num_samples,
        # Scores of all models, and those of the folds that its scale is learned from.
        "attack": 3 * SCORE_BYTES * num_samples * num_models,
    }
    weights, masks = _model_bytes(plan, audit_data) if any(task.action not in sizes for task in tasks) else (0, 0)
    total = 0
    for task in tasks:
        total += SMALL_FILES + sizes.get(task.action, weights)
        total += masks if MASK_FILE in task.artifact.files else 0
        total += weights if COMPRESSED_FILE in task.artifact.files else 0  # at most
    return total


def _model_bytes(plan: Plan, audit_data: AuditData) -> tuple[int, int]:
    """Bytes of one model's weights, and of its mask."""
    model, shape = plan.study.model, tuple(audit_data.x.shape[1:])
    network = build_model(model.name, model.options, shape, audit_data.num_classes, torch.Generator())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    return weights, sum(weight.numel() for weight in counted_weights(network).values())


def free_bytes(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def check_room(num_bytes: int, folder: Path) -> None:
    """Checks that so many bytes fit into a run folder, beside the results.

    Raises:
        UserError: they do not.
    """
    needed, free = num_bytes + RESULT_BYTES, free_bytes(folder)
    if needed > free:
        raise UserError(
            f"{folder}: this needs about {needed / 1e6:,.0f} MB more, and {free / 1e6:,.0f} MB are free there;"
            " make room, or choose a folder on another disk with --out"
        )
