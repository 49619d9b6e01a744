"""Sparsity training of network slimming: an L1 penalty on the factors of BatchNorm.

Source: Liu et al. 2017 (arXiv 1708.06519), section 3: the loss gains strength x sum |gamma|, so every
gradient of a gamma gains strength x sign(gamma), 0 at gamma = 0. This drives many factors towards zero,
and their channels can then be removed at little cost.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.training.hooks import Hook, TrainingState


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All BatchNorm layers with factors, in the network's order."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.affine]


class GammaPenalty(Hook):
    """Adds the penalty's gradient between the loss's gradient and the optimizer's step."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    @torch.no_grad()
    def after_backward(self, state: TrainingState) -> None:
        """Adds strength x sign(gamma) to the gradient of every gamma that is trained."""
        for layer in batch_norms(state.model):
            if layer.weight.grad is not None:
                layer.weight.grad.add_(layer.weight.sign(), alpha=self.strength)
