"""Doing one task: a pure step from files to files, the same in every executor.

The task reads its inputs, writes into its staging folder and returns nothing; the driver checks and
commits what was written.
"""

# K models of the scoring bank, N samples, C classes

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from scipy.special import softmax
from torch import nn

from pruneaudit.core import seeds
from pruneaudit.core.threads import one_blas_thread, one_torch_thread
from pruneaudit.data.membership import from_text
from pruneaudit.engine.assemble import signals_in
from pruneaudit.engine.learned_scores import SCORES_FILE as ATTACK_SCORES_FILE
from pruneaudit.engine.learned_scores import attack_in, save_scores
from pruneaudit.engine.own import (
    SCORES_FILE,
    Own,
    population_of,
    scoring_split,
    stored_model,
    write_trained,
)
from pruneaudit.engine.plan import Action
from pruneaudit.engine.releasing import make_release
from pruneaudit.engine.request import Request
from pruneaudit.evaluation.game import Game, view_of
from pruneaudit.evaluation.measure import play
from pruneaudit.signals.collect import collect
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study import Training
from pruneaudit.training.by_function import train_by_function
from pruneaudit.training.history import write_summary
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples


def perform(request: Request) -> None:
    """Does the task, on one thread of this process."""
    steps: dict[str, Callable[[Request], None]] = {
        "train": _train_dense,
        "release": make_release,
        "signals": _collect_signals,
        "sensitivity": _collect_sensitivity,
        "sample_scores": _score_samples,
        "attack": _play_attack,
    }
    with one_torch_thread():
        steps[request.action](request)


def _train_dense(request: Request) -> None:
    """Trains one model of the bank, or of the scoring bank, on its own members."""
    own = Own(request)
    settings = Training.model_validate(request.spec["training"])
    model = own.initial_model()
    members, generator = own.members(), own.generator(seeds.TRAINING)
    if settings.function:
        history = train_by_function(model, members, settings.function, generator)
    else:
        history = train(model, members, settings, generator, own.hooks(settings), own.checkpoints()).history
    write_trained(own, model, history)


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


def _score_samples(request: Request) -> None:
    """Scores every sample by how much the models of the scoring bank have memorised it."""
    population, spec, staging = population_of(request), request.spec, Path(request.staging)
    models, everyone = range(spec["num_models"]), np.arange(len(population.y))
    p_y = np.empty((len(models), len(population.y)))  # (K, N)
    for k in models:
        logits = np.load(Path(request.inputs[f"model-{k:03d}"]) / "logits.npy", allow_pickle=False)  # (N, C)
        p_y[k] = softmax(logits.astype(np.float64), axis=1)[everyone, population.y]
    member = np.stack([scoring_split(spec["seed"], k, population).member for k in models])  # (K, N)
    scores = memorisation(p_y, member)
    num_one_sided = int(((member.all(axis=0) | ~member.any(axis=0)) & ~population.reserve & ~population.is_copy).sum())
    scores[population.reserve] = np.nan
    np.save(staging / SCORES_FILE, scores, allow_pickle=False)
    write_summary({"num_models": len(models), "num_one_sided": num_one_sided}, staging)


def _play_attack(request: Request) -> None:
    """Plays one attack that learns in one game, on what the models have answered."""
    spec, population = request.spec, population_of(request)
    splits = from_text(request.membership)  # of all models, by id
    folders: dict[str, dict[tuple[Action, int], Path]] = {}
    for role, folder in request.inputs.items():
        if role != "population":
            release, action, model_id = role.rsplit("/", 2)
            folders.setdefault(release, {})[cast(Action, action), int(model_id)] = Path(folder)
    signals = {
        release: signals_in(answers, splits, spec["protocol"], spec["queries"], population)
        for release, answers in folders.items()
    }
    view = view_of(signals, spec["seen"], spec["owned"])
    game = Game(spec["release"], spec["knowledge"], view)
    attack = attack_in(spec)
    attack.device = request.device
    with one_blas_thread():
        scores = play(attack, spec["label"], game, spec["seed"])
    save_scores(scores, Path(request.staging) / ATTACK_SCORES_FILE)


def memorisation(p_y: np.ndarray, member: np.ndarray) -> np.ndarray:
    """How much models know of each sample only because they were trained on it.

    Source: Feldman and Zhang 2020 (arXiv 2008.03703); mean p_y of the models trained on it, less that of the others.

    Args:
        p_y: (K, N) float64, the probability that each model gives to the sample's label.
        member: (K, N) bool, whether the sample was in the model's training set.

    Returns:
        (N,) float64 in [-1, 1], higher = more memorised; 0 where all models are on one side.
    """
    num_in, num_out = member.sum(axis=0), (~member).sum(axis=0)  # (N,) each
    means = [(p_y * side).sum(axis=0) / np.maximum(num, 1) for side, num in ((member, num_in), (~member, num_out))]
    scores: np.ndarray = np.where((num_in > 0) & (num_out > 0), means[0] - means[1], 0.0)
    return scores


def _model_and_population(request: Request) -> tuple[nn.Module, Samples]:
    population = population_of(request)
    model = stored_model(request.spec, population, Path(request.inputs["model"])).to(request.device)
    return model, Samples.of(population, np.ones(len(population.y), dtype=bool), request.device)
