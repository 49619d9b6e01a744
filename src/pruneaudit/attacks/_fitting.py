"""Trains a small classifier. Imports torch, so import this module only where it is used.

On the CPU the result depends only on the arguments: training uses one thread, whatever the number of cores, and
private random generators. It changes neither torch's global generators nor the caller's number of threads, so several
threads can train at the same time. On a GPU, first weights and order of rows are the same as on the CPU; dropout and
rounding are not.
"""

# n rows, F features, B batch

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.attacks._networks import Dropout, EncoderLayer, draw_weights_of_mia_prune
from pruneaudit.attacks._private_draws import PrivateDraws
from pruneaudit.core.threads import one_torch_thread

SCORING_BATCH = 1024


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained."""

    optimizer: str
    """`adam`, or `sgd` with momentum 0.9."""
    learning_rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    schedule: Literal["constant", "steps", "cosine"]
    """steps: divide the learning rate by 10 after half of the epochs, and by 100 after three quarters; cosine: let it
    fall to 0 along a cosine."""
    select_epoch: bool
    """Keep the epoch with the lowest held-out loss instead of the last one."""
    weights_of_mia_prune: bool = False
    """Draw first weights as mia_prune does (Xavier-normal, zero biases) instead of torch's defaults."""
    after_epoch: Callable[[nn.Module], None] | None = None
    """Called with the network after each epoch, for a look at its training; it must not change the network."""


def fit(
    build: Callable[[], nn.Module],
    features: np.ndarray,
    member: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
) -> nn.Module:
    """Trains a classifier of members and non-members by cross-entropy.

    Args:
        build: makes the untrained network, (B, F) -> (B, 2).
        features: (n, F) float32, n >= 2.
        member: (n,) bool.
        held_out: features (n', F) and membership (n',) that select the epoch; if empty, the last epoch is kept.
        recipe: optimizer, epochs and so on.
        seed: seed of everything random: initialisation, order of the rows, dropout.
        device: where to train; the network stays there.
    """
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(member.astype(np.int64)).to(device)
    num_batches = math.ceil(len(x) / recipe.batch_size)
    order_of_rows = torch.Generator().manual_seed(seed)
    selects = recipe.select_epoch and len(held_out[1]) > 0
    lowest, best = math.inf, {}
    draws = PrivateDraws(seed)
    with one_torch_thread():
        with draws:
            network = build()
            if recipe.weights_of_mia_prune:
                draw_weights_of_mia_prune(network)
        network.to(device)
        forward = _drawing_from(draws, network, x.device)
        optimizer = _optimizer(network, recipe)
        for epoch in range(recipe.epochs):
            _set_learning_rate(optimizer, recipe, epoch)
            network.train()
            order = torch.randperm(len(x), generator=order_of_rows).to(device)
            for batch in order.tensor_split(num_batches):  # equal parts: never a single row, which BatchNorm refuses
                loss = nn.functional.cross_entropy(forward(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if selects and (found := _loss(log_odds(network, held_out[0]), held_out[1])) < lowest:
                lowest, best = found, copy.deepcopy(network.state_dict())
            if recipe.after_epoch is not None:
                recipe.after_epoch(network)
    if best:
        network.load_state_dict(best)
    return network.eval()


def log_odds(network: nn.Module, features: np.ndarray) -> np.ndarray:
    """Log-odds of membership (n,) float64 for features (n, F) float32, on one thread and the network's device."""
    device = next(network.parameters()).device
    network.eval()
    with one_torch_thread(), torch.inference_mode():
        batches = torch.from_numpy(features).split(SCORING_BATCH)
        parts: list[Tensor] = [network(batch.to(device)).cpu().double() for batch in batches]
        logits = torch.cat(parts)
    return (logits[:, 1] - logits[:, 0]).numpy()


def _drawing_from(draws: PrivateDraws, network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network's forward pass in training, with dropout from the device's private generator."""
    for layer in network.modules():
        if isinstance(layer, Dropout | EncoderLayer):
            layer.generator = draws.generator(device)
    drawn_before, draws_elsewhere = draws.num_draws, True  # until the first pass shows otherwise

    def forward(x: Tensor) -> Tensor:
        nonlocal draws_elsewhere
        with draws if draws_elsewhere else nullcontext():
            logits: Tensor = network(x)
        draws_elsewhere = draws.num_draws > drawn_before
        return logits

    return forward


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, rate, decay = network.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9, fused=True)


def _set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    if recipe.schedule == "constant":
        return
    if recipe.schedule == "steps":
        factor = 0.1 ** ((epoch >= recipe.epochs // 2) + (epoch >= 3 * recipe.epochs // 4))
    else:
        factor = (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * factor


def _loss(odds: np.ndarray, member: np.ndarray) -> float:
    """Mean cross-entropy in nats, in float64; infinite where training diverged."""
    loss = float(np.logaddexp(0, np.where(member, -odds, odds)).mean())
    return loss if math.isfinite(loss) else math.inf
