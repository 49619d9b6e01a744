"""Chooses the weights to prune: which can be pruned, their scores, and which of them go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pruneaudit.compression.factored import Factored
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import Matrix, matrices
from pruneaudit.compression.parametrized import refuse
from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest

Scope = Literal["global", "layerwise"]
Layers = Literal["all", "convolutions", "with_embeddings"]
Rounding = Literal["nearest", "down"]


def prunable_weights(model: nn.Module, exclude: Sequence[str] = (), only: Layers = "all") -> dict[str, Tensor]:
    """The weight matrices that a method may prune, by parameter name; see `compression.matrices`.

    A tensor that several layers share appears once, under its first name. It is left out if any of them is excluded.

    Args:
        model: any network.
        exclude: layers to leave out, with everything inside them: names of modules or parameters, `first_conv`, or
            `classifier` (the last linear layer).
        only: `convolutions` leaves out everything else, `with_embeddings` adds tables of embeddings.

    Raises:
        UserError: an excluded layer does not exist, nothing is left to prune, or a matrix that is not excluded is
            computed from other tensors or holds NaN or infinity.
    """
    eligible = _eligible(model)
    excluded = _excluded(model, eligible, exclude)
    chosen = [
        matrix
        for matrix in eligible
        if matrix not in excluded
        and matrix.counts(embeddings=only == "with_embeddings")
        and (only != "convolutions" or matrix.kind == "convolution")
    ]
    if not chosen:
        wanted = "convolutional layer" if only == "convolutions" else "weight matrix"
        raise UserError(f"nothing to prune: the model has no {wanted} that is not excluded")
    for matrix in chosen:
        _check_usable(matrix)
    return {matrix.name: matrix.weight for matrix in chosen}


def excluded_layers(model: nn.Module, exclude: Sequence[str]) -> frozenset[str]:
    """The names of all excluded layers, including those that share a tensor with one of them.

    Raises:
        UserError: an excluded layer does not exist.
    """
    return frozenset(layer for matrix in _excluded(model, _eligible(model), exclude) for layer in matrix.layers)


def end_layers(model: nn.Module) -> frozenset[str]:
    """The first convolution and the last linear layer, by module name, as far as there are such layers."""
    return frozenset(layer for layer in _alias(model, _eligible(model)).values() if layer)


def _eligible(model: nn.Module) -> list[Matrix]:
    return [matrix for matrix in matrices(model) if matrix.counts(embeddings=True)]


def _excluded(model: nn.Module, eligible: Sequence[Matrix], exclude: Sequence[str]) -> list[Matrix]:
    """The matrices that `exclude` names."""
    alias, layers = _alias(model, eligible), {layer for matrix in eligible for layer in matrix.layers}
    layers |= {name for name, module in model.named_modules() if isinstance(module, Factored)}
    found: list[Matrix] = []
    for name in exclude:
        layer = alias.get(name) or name
        meant = [matrix for matrix in eligible if _covers(layer, layers, matrix)]
        if not meant:
            known = list(dict.fromkeys([*(a for a, target in alias.items() if target), *_named(eligible)]))
            raise UserError(f"exclude: no layer '{name}'{nearest(name, known)}; expected among: {', '.join(known)}")
        found += meant
    return found


def _alias(model: nn.Module, eligible: Sequence[Matrix]) -> dict[str, str | None]:
    """The layers that `first_conv` and `classifier` mean."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    convolutions = [matrix.layers[0] for matrix in eligible if matrix.kind == "convolution"]
    found = {"first_conv": next(iter(convolutions), None), "classifier": linear[-1] if linear else None}
    return {alias: layer and _whole(model, layer) for alias, layer in found.items()}


def _whole(model: nn.Module, layer: str) -> str:
    """The name of the pair of layers to which a layer belongs, else its own."""
    outer = layer.rpartition(".")[0]
    return outer if isinstance(model.get_submodule(outer), Factored) else layer


def _named(eligible: Sequence[Matrix]) -> list[str]:
    """Names that can be excluded: of layers, and of the network's own parameters."""
    return [layer or matrix.name for matrix in eligible for layer in matrix.layers]


def _covers(excluded: str, layers: set[str], matrix: Matrix) -> bool:
    """Whether an excluded name, of a layer or a parameter, covers this matrix."""
    inside = excluded in layers and any(layer.startswith(f"{excluded}.") for layer in matrix.layers)
    return inside or excluded in (*matrix.layers, matrix.name, *matrix.aliases)


def _check_usable(matrix: Matrix) -> None:
    """Refuses matrices that cannot be masked or ranked."""
    if matrix.computed:
        raise refuse(matrix.layers[0], matrix.computed)
    check_finite(matrix.name, matrix.weight)


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuses weights that are not finite.

    Raises:
        UserError: some are not; the message names the parameter.
    """
    if not tensor.is_floating_point() or tensor.sum().isfinite():  # a finite sum has finite terms only
        return
    if (wrong := tensor.numel() - int(tensor.isfinite().sum())) == 0:
        return
    raise UserError(
        f"'{name}' has NaN or infinity in {wrong:,} of {tensor.numel():,} weights, expected finite numbers; use weights"
        " from a training that did not diverge"
    )


def num_removed(num_weights: int, sparsity: float, layer: str = "", rounding: Rounding = "nearest") -> int:
    """How many of `num_weights` a sparsity removes.

    Args:
        num_weights: number of weights.
        sparsity: fraction to remove, in [0, 1).
        layer: name of their layer, for messages; default: they are the whole model's.
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


def num_removed_in(
    sizes: Mapping[str, int], sparsity: float, scope: Scope, rounding: Rounding = "nearest"
) -> dict[str, int]:
    """How many weights a sparsity removes: of each layer, or under "" of all together; see `num_removed`.

    Args:
        sizes: number of weights, by parameter name.
        sparsity: fraction to remove, in [0, 1).
        scope: as for `select_highest`.
        rounding: how the count becomes a whole number.

    Raises:
        UserError: as for `num_removed`.
    """
    if scope == "global":
        return {"": num_removed(sum(sizes.values()), sparsity, rounding=rounding)}
    return {name: num_removed(size, sparsity, name, rounding) for name, size in sizes.items()}


def keep_highest(scores: Mapping[str, Tensor], sparsity: float, scope: Scope, rounding: Rounding = "nearest") -> Masks:
    """Masks that remove the lowest scores, by exact count; see `select_highest`."""
    return Masks(select_highest(scores, sparsity, scope, rounding))


def select_highest(
    scores: Mapping[str, Tensor], sparsity: float, scope: Scope, rounding: Rounding = "nearest"
) -> dict[str, Tensor]:
    """Which weights stay when the lowest scores go, by exact count, on the scores' device.

    Args:
        scores: the score of each weight, by parameter name, in the weights' shapes.
        sparsity: fraction to remove, in [0, 1).
        scope: `global` ranks all weights together, `layerwise` removes the same fraction of each layer.
        rounding: how the count becomes a whole number.

    Returns:
        Bool by parameter name; exactly `num_removed` are False (per layer, if layerwise). Among equal
        scores, the first in parameter order go first.

    Raises:
        UserError: the sparsity is out of range, or leaves no weight.
    """
    removed = num_removed_in({name: score.numel() for name, score in scores.items()}, sparsity, scope, rounding)
    if scope == "layerwise":
        return select_counts(scores, removed)
    together = torch.cat([score.flatten() for score in scores.values()])
    kept = _keep(together, removed[""])
    parts = kept.split([score.numel() for score in scores.values()])
    return {name: part.view(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def select_counts(scores: Mapping[str, Tensor], removed: Mapping[str, int]) -> dict[str, Tensor]:
    """Which weights stay when the lowest scores of each layer go.

    Args:
        scores: the score of each weight, by parameter name, in the weights' shapes.
        removed: how many weights each layer loses, from 0 to all of them.

    Returns:
        Bool by parameter name, on the scores' device; ties as in `select_highest`.
    """
    return {name: _keep(score.flatten(), removed[name]).view(score.shape) for name, score in scores.items()}


def check_none_empty(kept: Mapping[str, Tensor], sparsity: float, method: str) -> None:
    """Checks that every layer keeps a weight: nothing passes through a layer without any.

    Args:
        kept: bool by parameter name; True = the weight is kept.
        sparsity: what was asked, for the message.
        method: the compressor, for the message.

    Raises:
        UserError: a layer has lost all its weights; the message names it.
    """
    for name, mask in kept.items():
        if mask.numel() and not mask.any():
            raise UserError(
                f"sparsity {sparsity:g}: '{method}' removes all {mask.numel():,} weights of '{name}', so nothing passes"
                f" through that layer; use a lower one, or exclude that layer ('{name.removesuffix('.weight')}')"
            )


def _keep(scores: Tensor, removed: int) -> Tensor:
    """True for all but the `removed` lowest of a flat tensor."""
    if removed == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    limit = scores.kthvalue(removed).values
    kept = scores > limit
    tied = (scores == limit).nonzero()[:, 0]  # the last of these stay
    num_missing = scores.numel() - removed - int(kept.count_nonzero())
    kept[tied[len(tied) - num_missing :]] = True
    return kept


def magnitude(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|w| of every weight, in the weights' shapes."""
    return {name: weight.detach().abs() for name, weight in weights.items()}


def magnitude_of_kept(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """|w| of the weights that `masks` (same shapes and devices; nonzero = kept) keep, and -1 for removed ones.

    With this ranking removed weights stay removed, even next to kept weights that are exactly zero.
    """
    return {name: score.masked_fill(masks[name] == 0, -1.0) for name, score in magnitude(weights).items()}


def chance(weights: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """A random number in [0, 1) per weight, in the weights' shapes, on the CPU; float64 to avoid ties."""
    return {
        name: torch.rand(weight.shape, generator=generator, dtype=torch.float64) for name, weight in weights.items()
    }
