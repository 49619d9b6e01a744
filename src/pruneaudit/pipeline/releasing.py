"""Making one model of a release: pruned by its method, then trained as the release says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pruneaudit.pipeline.own import (
    MASK_FILE,
    STRUCTURE_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    Own,
    stored_model,
    write_history,
    write_summary,
)
from pruneaudit.pipeline.request import Request
from pruneaudit.pruning import PRUNERS
from pruneaudit.pruning.mask import Masks
from pruneaudit.pruning.pruner import Pruning, Workshop
from pruneaudit.pruning.selection import prunable_weights
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import save_tensors, save_weights
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train


def make_release(request: Request) -> None:
    """Prunes and trains one model of the bank, from its dense weights or from new ones."""
    spec, own, staging = request.spec, Own(request), Path(request.staging)
    summary: dict[str, Any] = {}
    if "dense" in request.inputs:
        dense = Path(request.inputs["dense"])
        model = stored_model(spec["model"], own.population, dense).to(request.device)
        summary["test_accuracy_before"] = json.loads((dense / SUMMARY_FILE).read_text())["test_accuracy"]
    else:
        model = own.initial_model()
    num_prunable = sum(weight.numel() for weight in prunable_weights(model).values())
    pruning = _pruned(model, own)
    if summary and (pruning.structure or (pruning.masks and pruning.masks.sparsity)):
        summary["test_accuracy_after_pruning"] = own.accuracies(pruning.model)["test_accuracy"]
    elif summary and not spec["pruner"]:
        summary["test_accuracy_after_pruning"] = summary["test_accuracy_before"]
    history = _trained(pruning, own)
    save_weights(pruning.model, staging / WEIGHTS_FILE)
    if pruning.masks:
        save_tensors(dict(pruning.masks), staging / MASK_FILE)
    if pruning.structure:
        (staging / STRUCTURE_FILE).write_text(pruning.structure, encoding="utf-8")
    write_history(history, staging)
    summary |= weight_counts(pruning.model, num_prunable) | own.accuracies(pruning.model)
    write_summary(summary | {"num_members": int(own.split.member.sum())}, staging)


def _pruned(model: nn.Module, own: Own) -> Pruning:
    """Applies the release's method, which may train on the model's members in phases of its own."""
    spec = own.request.spec
    if not spec["pruner"]:
        return Pruning(model)

    def train_phase(network: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
        settings = Training.model_validate(spec["finetune"] | ({"epochs": epochs} if epochs else {}))
        train(network, own.members(), settings, own.generator("prune phase", phase), hooks, own.checkpoints(phase))

    workshop = Workshop(own.members().inputs(slice(0, 1)), own.generator("prune"), train_phase, own.initial_model)
    pruner = PRUNERS.get(spec["pruner"]["name"])
    return pruner.prune(model, spec["sparsity"], pruner.Options.model_validate(spec["pruner"]["options"]), workshop)


def _trained(pruning: Pruning, own: Own) -> Sequence[Mapping[str, Any]]:
    """Trains what was pruned, as far as the release asks for it; returns one row per epoch."""
    spec = own.request.spec
    if not spec["finetune"]:
        return []
    settings = Training.model_validate(spec["finetune"])
    # The same draws for every release of a model: releases then differ by what was done to them only.
    generator = own.generator("finetune" if "dense" in own.request.inputs else "training")
    hooks = (*pruning.hooks, *own.hooks(settings))
    history = train(pruning.model, own.members(), settings, generator, hooks, own.checkpoints()).history
    if pruning.masks and settings.select == "best_dev":
        # The best epoch's zeros may be others than the last one's, where the mask moves.
        pruning.masks = Masks.of_zeros(pruning.model, pruning.masks)
    return history


def weight_counts(model: nn.Module, num_prunable: int) -> dict[str, Any]:
    """What is left: over all parameters, and over the weights that could be pruned.

    Args:
        model: the released network.
        num_prunable: prunable weights of the dense network; those that are gone count as zeros.
    """
    left = sum(int(weight.count_nonzero()) for weight in prunable_weights(model).values())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nonzero_parameters": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "prunable_weights": num_prunable,
        "sparsity": 1 - left / num_prunable,
    }
