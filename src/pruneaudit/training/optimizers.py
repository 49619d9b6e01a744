"""The optimizer and the learning rate of a training."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from pruneaudit.study import Training
from pruneaudit.training.light_sgd import LightSGD


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """SGD or Adam as the settings say; fused: one kernel updates all weights."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    return LightSGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate_factor(settings: Training, step: int, steps_per_epoch: int) -> float:
    """The factor of the learning rate at a step, in (0, 1]; cosine reaches 0 after the last step."""
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / (settings.epochs * steps_per_epoch)))
    if settings.schedule == "step":
        passed = sum(step >= milestone * steps_per_epoch for milestone in settings.milestones)
        return settings.decay**passed
    return 1.0


def make_schedule(optimizer: torch.optim.Optimizer, settings: Training, steps_per_epoch: int) -> LambdaLR:
    """The schedule of the learning rate; advance it once per step."""
    return LambdaLR(optimizer, lambda step: learning_rate_factor(settings, step, steps_per_epoch))
