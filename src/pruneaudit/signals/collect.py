"""Collects predictions: from a network and the audit data to arrays.

Networks predict in evaluation mode. Query 0 is the plain sample; further queries are crops and flips of images, or
texts without some of their tokens, drawn from (study seed, query index), so that every model gets the same views.
"""

# N samples, C classes, Q queries, B batch

from __future__ import annotations

import numpy as np
from torch import nn

from pruneaudit.core import seeds
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.augment import augmentation
from pruneaudit.data.inputs import Inputs
from pruneaudit.data.kinds import OF_TOKENS
from pruneaudit.signals.derived import correct, scaled_confidence
from pruneaudit.training.predict import predict
from pruneaudit.training.samples import Samples


def collect(model: nn.Module, samples: Samples, num_queries: int, study_seed: int) -> dict[str, np.ndarray]:
    """One network's predictions on all samples.

    Args:
        model: the network, on the samples' device.
        samples: the whole audit data.
        num_queries: Q; above 1 the samples must be images or texts.
        study_seed: seed of the augmented queries.

    Returns:
        `logits` (N, C) float32; with Q > 1 also `confidence` (N, Q) float32 and `correct` (N, Q) bool.
    """
    answers = outputs(model, samples, num_queries, study_seed)
    if num_queries == 1:
        return {"logits": answers[0]}
    labels = samples.y.cpu().numpy()
    return {
        "logits": answers[0],
        "confidence": np.stack([scaled_confidence(answer, labels) for answer in answers], axis=1).astype(np.float32),
        "correct": np.stack([correct(answer, labels) for answer in answers], axis=1),
    }


def outputs(model: nn.Module, samples: Samples, num_queries: int, study_seed: int) -> list[np.ndarray]:
    """One network's raw outputs for all samples in each of Q queries, the plain one first; float32."""
    answers = [predict(model, samples).numpy()]
    changed = augmentation("crop_flip" if samples.vocabulary is None else OF_TOKENS, samples.vocabulary)
    for query in range(1, num_queries):
        generator = torch_generator(study_seed, seeds.QUERY, query)

        def attack_input(x: Inputs) -> Inputs:
            view: Inputs = changed(x, generator)  # noqa: B023 - used only in this iteration
            return view

        answers.append(predict(model, samples, attack_input).numpy())
    return answers
