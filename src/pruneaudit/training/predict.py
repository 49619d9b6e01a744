"""Predictions of a network on samples, in evaluation mode."""

# n samples, C classes

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruneaudit.data.inputs import Inputs, answered
from pruneaudit.training.samples import Samples

PREDICT_BATCH = 512


@torch.inference_mode()
def predict(model: nn.Module, samples: Samples, change: Callable[[Inputs], Inputs] | None = None) -> Tensor:
    """Logits (n, C) float32 on the CPU, in evaluation mode; the model's mode is restored.

    Args:
        model: the network, on the samples' device.
        samples: the samples to predict.
        change: applied to each batch of inputs first (an augmented query).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    outputs = []
    for start in range(0, len(samples), PREDICT_BATCH):
        x = samples.inputs(slice(start, start + PREDICT_BATCH))
        outputs.append(answered(model, change(x) if change else x).float().cpu())
    for module, mode in modes:
        module.training = mode
    return torch.cat(outputs)


def accuracy(model: nn.Module, samples: Samples) -> float:
    """Fraction of correctly classified samples, in [0, 1]; NaN without samples."""
    if not len(samples):
        return float("nan")
    return float((predict(model, samples).argmax(1) == samples.y.cpu()).double().mean())
