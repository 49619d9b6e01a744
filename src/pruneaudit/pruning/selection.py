"""Which weights can be pruned, and which of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pruneaudit.errors import UserError
from pruneaudit.pruning.mask import Masks
from pruneaudit.registry import nearest

Scope = Literal["global", "layerwise"]
Layers = Literal["all", "convolutions"]
Rounding = Literal["nearest", "down"]


def prunable_weights(model: nn.Module, exclude: Sequence[str] = (), only: Layers = "all") -> dict[str, Tensor]:
    """The weights of all convolutional and linear layers, by parameter name.

    Args:
        model: any network.
        exclude: layers left alone: module names, `first_conv`, or `classifier` (the last linear layer).
        only: `convolutions` leaves linear layers alone.

    Raises:
        UserError: an excluded layer does not exist, or nothing is left to prune.
    """
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (*convolutions, nn.Linear))}
    alias = {
        "first_conv": next((n for n, m in layers.items() if isinstance(m, convolutions)), None),
        "classifier": next((n for n, m in reversed(layers.items()) if isinstance(m, nn.Linear)), None),
    }
    left_out = {n for n, m in layers.items() if only == "convolutions" and not isinstance(m, convolutions)}
    for name in exclude:
        layer = alias.get(name) or name
        if layer not in layers:
            known = list(dict.fromkeys([*(a for a, target in alias.items() if target), *layers]))
            raise UserError(f"exclude: no layer '{name}'{nearest(name, known)}; expected among: {', '.join(known)}")
        left_out.add(layer)
    chosen = {f"{name}.weight" if name else "weight": m.weight for name, m in layers.items() if name not in left_out}
    if not chosen:
        wanted = "convolutional or linear layer" if only == "all" else "convolutional layer"
        raise UserError(f"nothing to prune: the model has no {wanted} that is not excluded")
    return chosen


def num_removed(num_weights: int, sparsity: float, layer: str = "", rounding: Rounding = "nearest") -> int:
    """How many of `num_weights` a sparsity removes.

    Args:
        num_weights: of how many weights.
        sparsity: fraction to remove, in [0, 1).
        layer: whose weights they are, for messages; default: the whole model's.
        rounding: `nearest` whole number (a half goes up), or `down`.

    Raises:
        UserError: sparsity is outside [0, 1), or would leave no weight.
    """
    if not 0 <= sparsity < 1:
        raise UserError(f"sparsity: got {sparsity:g}, expected at least 0 and below 1 (0.9 removes 90%)")
    removed = math.floor(sparsity * num_weights + (0.5 if rounding == "nearest" else 0))
    if removed >= num_weights:
        whose, or_else = (f" of {layer}", ", or exclude that layer") if layer else ("", "")
        raise UserError(
            f"sparsity {sparsity:g} leaves none of {num_weights:,} weights{whose}; use a lower one{or_else}"
        )
    return removed


def keep_highest(scores: Mapping[str, Tensor], sparsity: float, scope: Scope, rounding: Rounding = "nearest") -> Masks:
    """Masks that remove the lowest scores, by exact count; see `select_highest`."""
    return Masks(select_highest(scores, sparsity, scope, rounding))


def select_highest(
    scores: Mapping[str, Tensor], sparsity: float, scope: Scope, rounding: Rounding = "nearest"
) -> dict[str, Tensor]:
    """Which weights stay when the lowest scores go, by exact count, on the scores' device.

    Args:
        scores: what each weight is worth, by parameter name, in the weights' shapes.
        sparsity: fraction to remove, in [0, 1).
        scope: `global` ranks all weights together, `layerwise` removes the same fraction of each layer.
        rounding: how the count becomes a whole number.

    Returns:
        Bool by parameter name, of which exactly `num_removed` are False (per layer, if layerwise). Of
        equal scores, those that come first in parameter order go first.

    Raises:
        UserError: the sparsity is out of range, or leaves no weight.
    """
    if scope == "layerwise":
        return {
            name: _keep(score.flatten(), num_removed(score.numel(), sparsity, name, rounding)).view(score.shape)
            for name, score in scores.items()
        }
    together = torch.cat([score.flatten() for score in scores.values()])
    kept = _keep(together, num_removed(together.numel(), sparsity, rounding=rounding))
    parts = kept.split([score.numel() for score in scores.values()])
    return {name: part.view(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _keep(scores: Tensor, removed: int) -> Tensor:
    """True for all but the `removed` lowest of a flat tensor."""
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    limit = scores.kthvalue(removed).values
    kept = scores > limit
    tied = (scores == limit).nonzero()[:, 0]  # of which the last ones stay
    num_missing = scores.numel() - removed - int(kept.count_nonzero())
    kept[tied[len(tied) - num_missing :]] = True
    return kept
