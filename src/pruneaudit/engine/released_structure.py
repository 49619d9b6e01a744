"""Reads the structure of a release's networks from the stored artifacts: the channels and weights that each one keeps.

It never builds networks with a user's function, because a run folder can come from a stranger (`compression.kept` lists
what is then left out).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import torch

from pruneaudit.compression.kept import KeptByModels, Whole, kept_bits
from pruneaudit.core.files import MASK_FILE, STRUCTURE_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_context import new_model
from pruneaudit.signals.bits import Bits
from pruneaudit.study.lineage import network_function
from pruneaudit.training.checkpoint import load_tensors


def released_structure(
    plan: Plan, store: Store, audit_data: AuditData, release: str, left_out: Collection[int] = ()
) -> Bits | None:
    """Returns which channels and weights each network of a release keeps; None if none of them lost any that way.

    Args:
        plan: the plan of the study.
        store: the store with the release's models.
        audit_data: the audit data of the study.
        release: its name.
        left_out: models to leave out.
    """
    tasks = [task for task in plan.models(release) if task.model_id not in left_out]
    build = partial(new_model, tasks[0].spec, audit_data, torch.Generator())
    whole = None if network_function(tasks[0].spec) else Whole(build)
    found = KeptByModels()
    for task in tasks:
        masks, structure = (store.path(task.artifact) / name for name in (MASK_FILE, STRUCTURE_FILE))
        found.add(
            kept_bits(
                load_tensors(masks) if masks.exists() else {},
                structure.read_text(encoding="utf-8") if structure.exists() else "",
                whole,
            )
        )
    packed, num_bits = found.packed()
    return Bits(packed, num_bits) if num_bits else None
