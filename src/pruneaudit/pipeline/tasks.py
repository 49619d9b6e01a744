"""Doing one task: a pure step from files to files, the same in every executor.

The task reads its inputs, writes into its staging folder and returns nothing; the driver checks and
commits what was written.
"""

# N samples

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pruneaudit.data.population import Population
from pruneaudit.data.splits import member_row
from pruneaudit.models import build_model
from pruneaudit.pipeline.request import Request
from pruneaudit.pipeline.store import SEAL
from pruneaudit.pruning import PRUNERS
from pruneaudit.pruning.pruner import Pruning, Workshop
from pruneaudit.pruning.selection import prunable_weights
from pruneaudit.randomness import torch_generator
from pruneaudit.signals.collect import collect
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_tensors, save_weights
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev


def perform(request: Request) -> None:
    """Does the task, on one thread of this process."""
    steps: dict[str, Callable[[Request], None]] = {
        "train": _train_dense,
        "release": _make_release,
        "signals": _collect_signals,
        "sensitivity": _collect_sensitivity,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps[request.action](request)
    finally:
        torch.set_num_threads(before)


def _population(folder: str) -> Population:
    # A damaged population is made again under the same name: its seal is another file then.
    return _loaded_population(folder, (Path(folder) / SEAL).stat().st_ino, (Path(folder) / SEAL).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded_population(folder: str, seal_number: int, sealed_ns: int) -> Population:
    return Population.load(Path(folder), mmap=True)


class _Split:
    """The samples of one model: its training set, the samples outside it, the reserve."""

    def __init__(self, request: Request) -> None:
        self.population = _population(request.inputs["population"])
        spec, reserve = request.spec, self.population.reserve
        self.member = member_row(spec["seed"], spec["model_id"], reserve)  # (N,)
        self._device = request.device

    def members(self) -> Samples:
        return Samples.of(self.population, self.member, self._device)

    def non_members(self) -> Samples:
        return Samples.of(self.population, ~self.member & ~self.population.reserve, self._device)

    def hooks(self, settings: Training) -> tuple[Hook, ...]:
        if settings.select != "best_dev":
            return ()
        return (BestOnDev(Samples.of(self.population, self.population.reserve, self._device)),)


def _new_model(model: Mapping[str, Any], population: Population, generator: torch.Generator) -> nn.Module:
    shape = tuple(population.x.shape[1:])
    return build_model(model["name"], model["options"], shape, population.num_classes, generator)


def _checkpoints(request: Request, phase: str = "") -> Checkpoints | None:
    """Where a training of this task is kept; a phase of its own has a folder of its own."""
    folder = Path(request.checkpoints) / phase if phase else Path(request.checkpoints)
    return Checkpoints(folder, request.checkpoint_seconds) if request.checkpoints else None


def _train_dense(request: Request) -> None:
    """Trains one model of the bank on its own members."""
    spec, split, staging = request.spec, _Split(request), Path(request.staging)
    settings = Training.model_validate(spec["training"])
    seed, model_id = spec["seed"], spec["model_id"]
    model = _new_model(spec["model"], split.population, torch_generator(seed, "initialise", model_id))
    model.to(request.device)
    members = split.members()
    generator = torch_generator(seed, "training", model_id)
    state = train(model, members, settings, generator, split.hooks(settings), _checkpoints(request))
    save_weights(model, staging / "model.safetensors")
    _write_history(state.history, staging / "history.csv")
    summary = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_accuracy": accuracy(model, members),
        "test_accuracy": accuracy(model, split.non_members()),
        "num_members": int(split.member.sum()),
    }
    _write_summary(summary, staging)


def _make_release(request: Request) -> None:
    """Prunes and fine-tunes one model of the bank."""
    spec, split, staging = request.spec, _Split(request), Path(request.staging)
    seed, model_id = spec["seed"], spec["model_id"]
    dense = Path(request.inputs["dense"])
    model = _new_model(spec["model"], split.population, torch_generator(seed, "initialise", model_id))
    load_weights(model, dense / "model.safetensors").to(request.device)
    members, non_members = split.members(), split.non_members()
    before = json.loads((dense / "summary.json").read_text())
    pruning = _prune(model, request, split)
    after_pruning = accuracy(pruning.model, non_members) if pruning.masks else before["test_accuracy"]
    history: list[dict[str, Any]] = []
    if spec["finetune"]:
        settings = Training.model_validate(spec["finetune"])
        # The same draws for every release of a model: releases then differ by what was done to them only.
        generator = torch_generator(seed, "finetune", model_id)
        hooks = (*pruning.hooks, *split.hooks(settings))
        history = train(pruning.model, members, settings, generator, hooks, _checkpoints(request)).history
    save_weights(pruning.model, staging / "model.safetensors")
    if pruning.masks:
        save_tensors(dict(pruning.masks), staging / "mask.safetensors")
    _write_history(history, staging / "history.csv")
    summary = {
        **_weight_counts(pruning.model),
        "train_accuracy": accuracy(pruning.model, members),
        "test_accuracy": accuracy(pruning.model, non_members),
        "test_accuracy_before": before["test_accuracy"],
        "test_accuracy_after_pruning": after_pruning,
        "num_members": int(split.member.sum()),
    }
    _write_summary(summary, staging)


def _prune(model: nn.Module, request: Request, split: _Split) -> Pruning:
    """Applies the release's pruning method, which may train on the model's members in phases of its own."""
    spec = request.spec
    if not spec["pruner"]:
        return Pruning(model)
    seed, model_id = spec["seed"], spec["model_id"]

    def train_phase(network: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
        settings = Training.model_validate(spec["finetune"] | ({"epochs": epochs} if epochs else {}))
        generator = torch_generator(seed, "prune phase", phase, model_id)
        train(network, split.members(), settings, generator, hooks, _checkpoints(request, phase))

    def initial() -> nn.Module:
        return _new_model(spec["model"], split.population, torch_generator(seed, "initialise", model_id))

    example = split.members().inputs(slice(0, 1))
    workshop = Workshop(example, torch_generator(seed, "prune", model_id), train_phase, initial)
    pruner = PRUNERS.get(spec["pruner"]["name"])
    return pruner.prune(model, spec["sparsity"], pruner.Options.model_validate(spec["pruner"]["options"]), workshop)


def _collect_signals(request: Request) -> None:
    """Asks one model about the whole population."""
    model, everything = _model_and_population(request)
    for key, array in collect(model, everything, request.spec["queries"], request.spec["seed"]).items():
        np.save(Path(request.staging) / f"{key}.npy", array, allow_pickle=False)


def _collect_sensitivity(request: Request) -> None:
    """Asks one model about the whole population under small noise."""
    model, everything = _model_and_population(request)
    array = sensitivity(model, everything, request.spec["seed"], request.spec["model_id"])
    np.save(Path(request.staging) / "sensitivity.npy", array, allow_pickle=False)


def _model_and_population(request: Request) -> tuple[nn.Module, Samples]:
    population = _population(request.inputs["population"])
    model = _new_model(request.spec["model"], population, torch.Generator())
    load_weights(model, Path(request.inputs["model"]) / "model.safetensors").to(request.device)
    return model, Samples.of(population, np.ones(len(population.y), dtype=bool), request.device)


def _weight_counts(model: nn.Module) -> dict[str, Any]:
    """What is left: over all parameters, and over the prunable weights."""
    prunable = prunable_weights(model).values()
    num_prunable = sum(weight.numel() for weight in prunable)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nonzero_parameters": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "prunable_weights": num_prunable,
        "sparsity": 1 - sum(int(weight.count_nonzero()) for weight in prunable) / num_prunable,
    }


def _write_history(history: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch", "loss", "learning_rate"])
        writer.writeheader()
        writer.writerows(history)


def _write_summary(summary: Mapping[str, Any], staging: Path) -> None:
    (staging / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
