"""The weight matrices of a network. Pruning removes weights from them, and sparsity is a fraction of them.

A weight matrix is a parameter of two or more dimensions that multiplies inputs:

| where | parameters |
|---|---|
| convolutions, also transposed ones | `weight` |
| `Linear`, `Bilinear`, the `Conv1D` of transformers | `weight` |
| `MultiheadAttention` | `in_proj_weight`, or `q_proj_weight`, `k_proj_weight`, `v_proj_weight`; `out_proj.weight` |
| `RNN`, `LSTM`, `GRU` and their cells | `weight_ih...`, `weight_hh...`, `weight_hr...` |
| a user's own layers | every parameter with two or more dimensions longer than 1 |

The following are not weight matrices, so they are neither pruned nor counted among the prunable weights: tables of
embeddings (unless a method is asked to prune them), parameters of normalisation layers, and parameters that are added
to every input, recognised by a leading dimension of 1. A user's own parameter with embedding, position or token in its
name counts as a table of embeddings. Parameters that are not pruned, except normalisation, are listed with the reason.

A tensor that several layers share is one matrix, with one name (the first, as in `named_parameters`) and aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import ParametrizationList

from pruneaudit.compression.linear_layers import is_linear, is_transposed
from pruneaudit.compression.parametrized import Computed, computed_tensors, source_keys

Kind = Literal["convolution", "weight", "embedding", "added"]
"""Convolutions, other weight matrices, tables of embeddings, and parameters that are added to every input."""
_NORMALISING = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_TABLES = ("embed", "position", "token")
"""A user's own parameter with one of these in its name is a table of embeddings."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """One tensor of two or more dimensions, however many layers use it."""

    name: str
    """Its parameter's name; for a computed tensor, the name that it would have as a parameter."""
    aliases: tuple[str, ...]
    """Its other names, if layers share it."""
    layers: tuple[str, ...]
    """The modules that own it, by name."""
    type: str
    """The class of the first of them."""
    kind: Kind
    weight: Tensor
    computed: Computed | None = None
    """How it is computed; None for a parameter."""

    def counts(self, embeddings: bool) -> bool:
        """Whether it counts as prunable, with or without tables of embeddings."""
        return self.kind in ("convolution", "weight") or (embeddings and self.kind == "embedding")


def matrices(model: nn.Module) -> tuple[Matrix, ...]:
    """All matrices of a network, each once, in the order of its parameters."""
    found: dict[tuple[int, str], Matrix] = {}
    for layer, module, key, tensor, computed in _tensors(model):
        kind = _kind(module, key, tensor)
        if kind is None:
            continue
        name = f"{layer}.{key}" if layer else key
        # A computed tensor is a new object on each access.
        identity = (id(module), key) if computed else (id(tensor), "")
        known = found.get(identity)
        if known is None:
            found[identity] = Matrix(name, (), (layer,), _type(module), kind, tensor, computed)
            continue
        # A table shared with a linear layer stays a table: a method that leaves tables whole must not prune it.
        shared: Kind = "embedding" if "embedding" in (kind, known.kind) else known.kind
        layers, aliases = (*known.layers, layer), (*known.aliases, name)
        found[identity] = Matrix(known.name, aliases, layers, known.type, shared, known.weight, known.computed)
    return tuple(found.values())


def counted_weights(model: nn.Module, embeddings: bool = False) -> dict[str, Tensor]:
    """The prunable weights of a network, by name. Sparsity is a fraction of these, even if a method leaves some out.

    Args:
        model: any network.
        embeddings: count tables of embeddings too.
    """
    return {matrix.name: matrix.weight for matrix in matrices(model) if matrix.counts(embeddings)}


def whole_matrices(model: nn.Module) -> dict[str, Tensor]:
    """All matrices that are parameters, with their values, on the CPU, by their keys in a compressed state."""
    own = dict(model.named_parameters())
    names = [matrix.name for matrix in matrices(model) if matrix.name in own]
    return {f"whole/{name}": own[name].detach().cpu().contiguous() for name in names}


def channel_axes(model: nn.Module) -> dict[str, int]:
    """The axis of each matrix's output channels, by name: 0, or 1 in transposed convolutions and in `Conv1D`."""
    return {matrix.name: int(_inputs_first(model.get_submodule(matrix.layers[0]))) for matrix in matrices(model)}


def input_axes(model: nn.Module) -> dict[str, int | None]:
    """The axis of each matrix's input channels, by name: 1, or 0 in transposed convolutions and in `Conv1D`.

    None if it is not known: that of a user's own parameters, and of `Bilinear`, which has two inputs.
    """
    ordered = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, *_EMBEDDINGS)
    found: dict[str, int | None] = {}
    for matrix in matrices(model):
        module = model.get_submodule(matrix.layers[0])
        is_known = isinstance(module, ordered) or is_transposed(module)
        found[matrix.name] = int(not _inputs_first(module)) if is_known else None
    return found


def untouchable_layers(model: nn.Module) -> frozenset[str]:
    """Layers whose shape must not change: they share a matrix with another layer, or compute it from other tensors."""
    found = [matrix for matrix in matrices(model) if matrix.computed or len(set(matrix.layers)) > 1]
    return frozenset(layer for matrix in found for layer in matrix.layers)


def _inputs_first(module: nn.Module) -> bool:
    """Whether a layer's weight begins with its inputs, not its outputs."""
    return isinstance(module, _ConvTransposeNd) or is_transposed(module)


def _tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor, Computed | None]]:
    """Layer name, layer, key, tensor, and how it is computed, for every tensor with two or more dimensions."""
    inside = "."  # a prefix that no name has
    for layer, module in model.named_modules(remove_duplicate=False):
        if layer.startswith(inside):
            continue  # the parts of a parametrization are counted as the tensor that they compute
        if isinstance(module, ParametrizationList):
            inside = layer
            continue
        sources = source_keys(module)
        for key, tensor in module._parameters.items():
            if tensor is not None and key not in sources and not _has_no_shape(tensor) and tensor.ndim > 1:
                yield layer, module, key, tensor, None
        for computed in computed_tensors(module):
            with torch.no_grad():
                value = computed.value().detach()
            if value.ndim > 1:
                yield layer, module, computed.key, value, computed


def _has_no_shape(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.parameter.UninitializedParameter)


def _type(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Parametrized")


def _kind(module: nn.Module, key: str, tensor: Tensor) -> Kind | None:
    """The kind of a tensor of two or more dimensions; None for a parameter of a normalisation layer."""
    if isinstance(module, _NORMALISING):
        return None
    if isinstance(module, _EMBEDDINGS):
        return "embedding"
    if isinstance(module, _ConvNd):
        return "convolution" if key == "weight" else "added"
    if is_linear(module) or isinstance(module, nn.Bilinear):
        return "weight" if key == "weight" else "added"
    if isinstance(module, nn.MultiheadAttention):
        return "weight" if key in _ATTENTION else "added"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "weight"
    if any(word in key for word in _TABLES):
        return "embedding"
    longer = [length for length in tensor.shape if length > 1]
    is_added = len(longer) < 2 or (tensor.ndim > 2 and tensor.shape[0] == 1)
    return "added" if is_added else "weight"
