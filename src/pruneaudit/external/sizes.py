"""The size of a user's network before and after pruning."""

# B batch

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.compression.layer_sizes import layer_table, left_whole, weight_counts, weights_left
from pruneaudit.compression.macs import count_bit_operations, layer_macs
from pruneaudit.compression.matrices import matrices
from pruneaudit.compression.state import num_left
from pruneaudit.compression.storage_size import cost
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import Inputs, contiguous, described, first_of, moved
from pruneaudit.data.inputs import example_of as zeros
from pruneaudit.data.kinds import TokenShape
from pruneaudit.external.given import inputs_of_user
from pruneaudit.external.tuning import tried
from pruneaudit.models._arguments import take_what_it_names
from pruneaudit.training.checkpoint import own_tensors
from pruneaudit.training.samples import Samples


def example_of(
    given: Tensor | Mapping[str, Any] | Sequence[int] | None, model: nn.Module, samples: Samples | None
) -> Inputs | None:
    """One input (1, ...) on the model's device: given, from samples, or guessed from a first linear layer.

    Args:
        given: a batch (B, ...), for texts by name, or the shape of one input.
        model: the network; for texts it is made to take these by name.
        samples: the user's data.

    Returns:
        The input, or None if the shape is not known.

    Raises:
        UserError: `given` is neither a batch nor a shape, or the network fails on it.
    """
    weight = next(model.parameters())
    if given is None:
        return contiguous(samples.inputs(slice(0, 1))) if samples else _of_first_layer(model, weight)
    x = first_of(_batch(given, weight), 1)
    if isinstance(x, Mapping):
        take_what_it_names(model)
    tried(model, x, f"example: {described(x)}")
    return x


def _batch(given: Tensor | Mapping[str, Any] | Sequence[int], weight: Tensor) -> Inputs:
    """A user's batch, or zeros of a shape, on the device of a weight."""
    if isinstance(given, TokenShape):
        return moved(zeros(given), weight.device)
    if not isinstance(given, Tensor | Mapping) and all(isinstance(length, int) for length in given):
        if not given or min(given) < 1:
            raise UserError(f"example: got the shape {tuple(given)}, expected lengths above 0, such as (3, 32, 32)")
        given = torch.zeros(1, *given)
    if isinstance(given, Mapping):
        return inputs_of_user(given, weight.device, weight.dtype, "example")
    try:
        x = torch.as_tensor(given)
        return inputs_of_user(x[:1], weight.device, weight.dtype, "example")
    except (TypeError, ValueError, RuntimeError, IndexError):
        raise UserError(
            f"example: got {type(given).__name__}, expected a batch or a shape such as (3, 32, 32)"
        ) from None


def _of_first_layer(model: nn.Module, weight: Tensor) -> Tensor | None:
    """A table's row, if the first layer with weights is linear and the network takes it."""
    first = next((matrix for matrix in matrices(model) if matrix.counts(embeddings=True)), None)
    layer = first and model.get_submodule(first.layers[0])
    if not isinstance(layer, nn.Linear):
        return None
    x = torch.zeros(1, layer.in_features, dtype=weight.dtype, device=weight.device)
    try:
        tried(model, x, "")
    except UserError:  # it was a guess
        return None
    return x


def size_of(
    model: nn.Module,
    example: Inputs | None,
    dense: Mapping[str, Any] | None = None,
    embeddings: bool = False,
    state: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Parameters, nonzero ones, both sparsities, bytes of all tensors, MACs and bit operations of one sample.

    The latter two are None without an example.

    Args:
        model: the network.
        example: one input (1, ...).
        dense: the sizes of the network before pruning; default: `model` is dense.
        embeddings: count tables of embeddings among the prunable weights.
        state: its compressed state.
    """
    counts = weight_counts(model, dense, embeddings, num_left(state or {}))
    found = cost(model, state or {}, embeddings)
    size = {
        "effective_bits": found.effective_bits(counts["prunable_weights"]),
        "compressed_bytes": found.bytes,
    }
    tensors = [tensor for tensor in own_tensors(model).values() if isinstance(tensor, Tensor)]
    macs = None if example is None else layer_macs(model, example)
    return {
        **counts,
        **size,
        "compression_ratio": (dense or size)["compressed_bytes"] / found.bytes,
        "macs": None if macs is None else sum(macs.values()),
        "bit_operations": None if macs is None else count_bit_operations(model, macs, state or {}),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    }


def layers_of(dense: nn.Module, pruned: nn.Module, example: Inputs | None, left: Mapping[str, int]) -> dict[str, Any]:
    """`layers`: one row per layer with a weight, with its size before and after; `left_whole`: unchanged matrices."""
    before = {row.name: row for row in layer_table(dense)}
    macs = {} if example is None else layer_macs(pruned, example)
    rows = layer_table(pruned)
    not_removed = [left.get(row.parameter, row.nonzero) for row in rows]
    together = weights_left(rows, not_removed)
    sparsities = [1 - together[row.dense_name] / before[row.dense_name].weights for row in rows]
    layers = [
        {
            "name": row.name,
            "type": row.type,
            "shared_with": list(row.shared_with),
            "shape_before": list(before[row.dense_name].shape),
            "shape": list(row.shape),
            "weights_before": before[row.dense_name].weights,
            "nonzero": number,
            "sparsity": sparsity,
            "macs": macs.get(row.name),
        }
        for row, number, sparsity in zip(rows, not_removed, sparsities, strict=True)
    ]
    whole = [(row, sparsity) for row, sparsity in zip(rows, sparsities, strict=True) if row.parameter not in left]
    return {"layers": layers, "left_whole": left_whole(*zip(*whole, strict=True)) if whole else []}
