"""Runs one task: a pure step from files to files, the same in every executor.

The task reads its inputs, writes to its staging folder and returns nothing; the driver checks and
commits the files.
"""

# K models of the scoring bank, N samples, B of them in the bank, C classes

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import nn

from pruneaudit.compression.kept_weights import kept_weights
from pruneaudit.compression.state import load_state, masks_in, structure_in
from pruneaudit.core import seeds
from pruneaudit.core.files import EARLY_FILE
from pruneaudit.core.randomness import torch_generator
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import holdout_halves
from pruneaudit.engine.queries import FORGOTTEN_FILE, START_SALIENCY_FILE
from pruneaudit.engine.releasing import make_release
from pruneaudit.engine.task_context import (
    SCORES_FILE,
    TaskContext,
    audit_data_of,
    scoring_split,
    shared_start,
    stored_model,
    write_trained,
)
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.signals.collect import collect
from pruneaudit.signals.derived import scaled_confidence
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.signals.start_saliency import settle_norms, start_saliency
from pruneaudit.study import Training
from pruneaudit.training.by_function import train_by_function
from pruneaudit.training.checkpoint import save_tensors
from pruneaudit.training.early import KeepEarly
from pruneaudit.training.history import write_summary
from pruneaudit.training.loop import train
from pruneaudit.training.predict import predict
from pruneaudit.training.samples import Samples


def perform(task_spec: TaskSpec) -> None:
    """Runs the task, on one thread of this process."""
    steps: dict[str, Callable[[TaskSpec], None]] = {
        "train": _train_dense,
        "release": make_release,
        "import": _import_model,
        "signals": _collect_signals,
        "sensitivity": _collect_sensitivity,
        "forgetting": _train_copy,
        "start_saliency": _differentiate_start,
        "sample_scores": _score_samples,
        "attack": _play_attack,
    }
    with one_torch_thread():
        steps[task_spec.action](task_spec)


def _train_dense(task_spec: TaskSpec) -> None:
    """Trains one model of the bank, or of the scoring bank, on its own members."""
    context = TaskContext(task_spec)
    settings = Training.model_validate(task_spec.spec["training"])
    model = context.initial_model()
    members, generator = context.members(), context.generator(seeds.TRAINING)
    if settings.function:
        history = train_by_function(model, members, settings.function, generator)
    else:
        early = () if settings.keep_early is None else (KeepEarly(settings.keep_early),)
        hooks = (*early, *context.hooks(settings))
        with context.adapted(model, settings, seeds.TRAINING):
            history = train(model, members, settings, generator, hooks, context.checkpoints()).history
        for hook in early:
            save_tensors(hook.weights, Path(task_spec.staging) / EARLY_FILE)
    write_trained(context, model, history)


def _collect_signals(task_spec: TaskSpec) -> None:
    """Queries one model with the whole audit data."""
    queries, seed = task_spec.spec["queries"], task_spec.spec["seed"]
    parts = [collect(model, samples, queries, seed) for model, samples in _asked(task_spec)]
    for key in parts[0]:
        array = np.concatenate([part[key] for part in parts])
        np.save(Path(task_spec.staging) / f"{key}.npy", array, allow_pickle=False)


def _collect_sensitivity(task_spec: TaskSpec) -> None:
    """Queries one model with the whole audit data under small noise."""
    seed, model_id = task_spec.spec["seed"], task_spec.spec["model_id"]
    array = np.concatenate([sensitivity(model, samples, seed, model_id) for model, samples in _asked(task_spec)])
    np.save(Path(task_spec.staging) / "sensitivity.npy", array, allow_pickle=False)


def _train_copy(task_spec: TaskSpec) -> None:
    """Trains a copy of one model further on half A of the holdout, and queries it with the whole audit data.

    The copy is the attacker's own, so no constraint of compression holds its weights.
    """
    spec, audit_data, device = task_spec.spec, audit_data_of(task_spec), task_spec.device
    fitting, _ = holdout_halves(audit_data.untouched_holdout(spec["taken"]), audit_data.ids)
    settings = Training.model_validate(spec["training"])
    copy = _stored(task_spec)
    generator = torch_generator(spec["seed"], seeds.FORGETTING, spec["model_id"])
    train(copy, Samples.of(audit_data, fitting, device), settings, generator)
    logits = np.concatenate([predict(copy, samples).numpy() for samples in _parts(task_spec)])  # (N, C)
    np.save(
        Path(task_spec.staging) / FORGOTTEN_FILE,
        scaled_confidence(logits, audit_data.y).astype(np.float32),
        allow_pickle=False,
    )


def _differentiate_start(task_spec: TaskSpec) -> None:
    """Compares what one model keeps with the gradients of the whole audit data at the public initial weights."""
    start = shared_start(task_spec, audit_data_of(task_spec))
    state = load_state(Path(task_spec.inputs["model"]))
    kept = kept_weights(start, masks_in(state) or {}, structure_in(state))
    parts, start = list(_parts(task_spec)), start.to(task_spec.device)
    settle_norms(start, parts[0])
    found = np.concatenate([start_saliency(start, samples, kept) for samples in parts])  # (N,)
    np.save(Path(task_spec.staging) / START_SALIENCY_FILE, found, allow_pickle=False)


def _score_samples(task_spec: TaskSpec) -> None:
    """Scores every sample of the bank by how strongly the scoring bank has memorised it."""
    from scipy.special import softmax  # no other task of a worker needs it

    audit_data, spec, staging = audit_data_of(task_spec), task_spec.spec, Path(task_spec.staging)
    models, everyone = range(spec["num_models"]), np.arange(audit_data.num_in_bank)
    p_y = np.empty((len(models), len(everyone)))  # (K, B)
    for k in models:
        logits = np.load(Path(task_spec.inputs[f"model-{k:03d}"]) / "logits.npy", allow_pickle=False)  # (B, C)
        p_y[k] = softmax(logits.astype(np.float64), axis=1)[everyone, audit_data.y[everyone]]
    member = np.stack([scoring_split(spec["seed"], k, audit_data).member[everyone] for k in models])  # (K, B)
    scores = memorisation(p_y, member)
    audited = (audit_data.coined & ~audit_data.is_copy)[everyone]
    num_one_sided = int(((member.all(axis=0) | ~member.any(axis=0)) & audited).sum())
    scores[audit_data.unseen[everyone]] = np.nan
    np.save(staging / SCORES_FILE, scores, allow_pickle=False)
    write_summary({"num_models": len(models), "num_one_sided": num_one_sided}, staging)


def _import_model(task_spec: TaskSpec) -> None:
    """Takes weights of the user's; imported here, because the check of their figures loads what audits need."""
    from pruneaudit.engine.importing import import_model

    import_model(task_spec)


def _play_attack(task_spec: TaskSpec) -> None:
    """Plays an attack that learns; imported here, because workers that only train need none of its libraries."""
    from pruneaudit.engine.playing import play_attack

    play_attack(task_spec)


def memorisation(p_y: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Computes how strongly models memorise each sample.

    Mean p_y of the models trained on it, minus that of the others. Source: Feldman and Zhang 2020 (arXiv 2008.03703).

    Args:
        p_y: (K, N) float64, the probability that each model gives to the sample's label.
        member: (K, N) bool, whether the sample was in the model's training set.

    Returns:
        (N,) float64 in [-1, 1], higher = more memorised; 0 if all or no models were trained on it.
    """
    num_in, num_out = member.sum(axis=0), (~member).sum(axis=0)  # (N,) each
    means = [(p_y * side).sum(axis=0) / np.maximum(num, 1) for side, num in ((member, num_in), (~member, num_out))]
    scores: np.ndarray = np.where((num_in > 0) & (num_out > 0), means[0] - means[1], 0.0)
    return scores


def _asked(task_spec: TaskSpec) -> Iterator[tuple[nn.Module, Samples]]:
    """Yields the model with the samples to query, part by part."""
    model = _stored(task_spec)
    for samples in _parts(task_spec):
        yield model, samples


def _stored(task_spec: TaskSpec) -> nn.Module:
    """Loads the model to query."""
    folder = Path(task_spec.inputs["model"])
    return stored_model(task_spec.spec, audit_data_of(task_spec), folder).to(task_spec.device)


def _parts(task_spec: TaskSpec) -> Iterator[Samples]:
    """Yields the samples to query: those of the bank, then the part drawn last.

    The parts are queried separately, so that the answers on the bank do not depend on the other part. A scoring model
    is queried only with the bank.
    """
    audit_data = audit_data_of(task_spec)
    is_in_bank = np.arange(len(audit_data.y)) < audit_data.num_in_bank
    yield Samples.of(audit_data, is_in_bank, task_spec.device)
    if not is_in_bank.all() and not task_spec.spec.get("bank_alone"):
        yield Samples.of(audit_data, ~is_in_bank, task_spec.device)
