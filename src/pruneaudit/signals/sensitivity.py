"""Sensitivity: how much each class's probability changes under small input noise.

Sensitivity of class c at x = mean over draws of |f_c(x + e u) - f_c(x)| / e, f the softmax output, u ~ N(0, I) on the
normalised input (Yuan & Zhang 2022, arXiv 2202.03335). Every model has its own noise, from (study seed, model id).

Token ids have no neighbours. For texts, u is added to the output of the input embedding, before positions and
normalisation, and not to padding; e is in units of the root mean square of the table's numbers, because these differ
by a factor of 50 between networks. It is another quantity than that of images, so compare it only within one study.
"""

# N samples, C classes

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.core import seeds
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.inputs import Inputs
from pruneaudit.signals.embedding_noise import noisy_embedding
from pruneaudit.training.predict import predict
from pruneaudit.training.samples import Samples


def sensitivity(
    model: nn.Module,
    samples: Samples,
    study_seed: int,
    model_id: int | str,
    draws: int = 10,
    epsilon: float = 1e-3,
) -> np.ndarray:
    """The sensitivity of every class's probability at every sample.

    Args:
        model: the network, on the samples' device; it predicts in evaluation mode, and its mode is restored.
        samples: the whole audit data.
        study_seed: together with `model_id`, the seed of the noise.
        model_id: the model's id.
        draws: number of noisy versions of each sample; the cost is draws + 1 predictions of all samples.
        epsilon: standard deviation of the noise, in units of the normalised input; for texts, of the table's
            root mean square.

    Returns:
        (N, C) float32, >= 0, in units of probability per unit of noise (for texts, of relative noise).

    Raises:
        ValueError: fewer than one draw, or an epsilon that is not positive.
        UserError: the samples are texts, and the network has no table that gets their ids.
    """
    if draws < 1 or not epsilon > 0:
        raise ValueError(f"got draws = {draws}, epsilon = {epsilon:g}; expected at least one draw and epsilon above 0")
    generator = torch_generator(study_seed, seeds.SENSITIVITY, model_id)
    noise_on_inputs: AbstractContextManager[None]

    if samples.kind == "tokens":  # noqa: SIM108 - two kinds of context
        noise_on_inputs = noisy_embedding(model, samples, epsilon, generator)
    else:
        noise_on_inputs = nullcontext()

    def noisy(x: Inputs) -> Inputs:
        if not isinstance(x, Tensor):
            return x  # the noise goes on the output of the embedding
        # Drawn on the CPU, from the shape only: the same noise on every device and in every memory format.
        noise = torch.randn(x.shape, generator=generator)
        return x + epsilon * noise.to(x.device)

    plain = _posteriors(predict(model, samples))
    changes = torch.zeros_like(plain)
    with noise_on_inputs:
        for _ in range(draws):
            changes += (_posteriors(predict(model, samples, noisy)) - plain).abs()
    return (changes / (draws * epsilon)).float().numpy()


def _posteriors(logits: Tensor) -> Tensor:
    # In float64: a difference of two nearly equal probabilities is divided by 1e-3.
    return logits.double().softmax(dim=1)
