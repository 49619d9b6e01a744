"""How much disk a study will take, before it is run."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pruneaudit.data.population import Population
from pruneaudit.models import build_model
from pruneaudit.pipeline.plan import Plan, Task
from pruneaudit.pruning.matrices import counted_weights

SMALL_FILES = 20_000
"""Configuration, history, summary and seal of one artifact, in blocks of a disk."""


def disk_bytes(plan: Plan, population: Population, tasks: Sequence[Task]) -> int:
    """Bytes that the artifacts of `tasks` will take, to within some percent.

    Args:
        plan: the study's.
        population: the study's.
        tasks: those that are still to be done.
    """
    if not tasks:
        return 0
    model = plan.study.model
    shape = tuple(population.x.shape[1:])
    network = build_model(model.name, model.options, shape, population.num_classes, torch.Generator())
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    masks = sum(weight.numel() for weight in counted_weights(network).values())
    queries = plan.study.audit.queries
    answers = len(population.y) * (4 * population.num_classes + (5 * queries if queries > 1 else 0))
    total = 0
    for task in tasks:
        total += SMALL_FILES + (answers if task.action in ("signals", "sensitivity") else weights)
        total += masks if "mask.safetensors" in task.artifact.files else 0
    return total
