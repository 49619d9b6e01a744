"""Doing one task: a pure step from files to files, the same in every executor.

The task reads its inputs, writes into its staging folder and returns nothing; the driver checks and
commits what was written.
"""

# N samples

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pruneaudit.pipeline.own import WEIGHTS_FILE, Own, population_of, stored_model, write_history, write_summary
from pruneaudit.pipeline.releasing import make_release
from pruneaudit.pipeline.request import Request
from pruneaudit.signals.collect import collect
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import save_weights
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples


def perform(request: Request) -> None:
    """Does the task, on one thread of this process."""
    steps: dict[str, Callable[[Request], None]] = {
        "train": _train_dense,
        "release": make_release,
        "signals": _collect_signals,
        "sensitivity": _collect_sensitivity,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps[request.action](request)
    finally:
        torch.set_num_threads(before)


def _train_dense(request: Request) -> None:
    """Trains one model of the bank on its own members."""
    own, staging = Own(request), Path(request.staging)
    settings = Training.model_validate(request.spec["training"])
    model = own.initial_model()
    members, hooks = own.members(), own.hooks(settings)
    state = train(model, members, settings, own.generator("training"), hooks, own.checkpoints())
    save_weights(model, staging / WEIGHTS_FILE)
    write_history(state.history, staging)
    summary = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **own.accuracies(model),
        "num_members": int(own.split.member.sum()),
    }
    write_summary(summary, staging)


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
    population = population_of(request)
    model = stored_model(request.spec, population, Path(request.inputs["model"])).to(request.device)
    return model, Samples.of(population, np.ones(len(population.y), dtype=bool), request.device)
