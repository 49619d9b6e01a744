"""The weight matrices of a network: what pruning removes from, and what sparsity is a fraction of.

A weight matrix is a parameter of two or more dimensions that inputs are multiplied by:

| where | parameters |
|---|---|
| convolutions, transposed ones too | `weight` |
| `Linear`, `Bilinear` | `weight` |
| `MultiheadAttention` | `in_proj_weight`, or `q_proj_weight`, `k_proj_weight`, `v_proj_weight`; `out_proj.weight` |
| `RNN`, `LSTM`, `GRU` and their cells | `weight_ih...`, `weight_hh...`, `weight_hr...` |
| layers of the user's own | every parameter with two or more dimensions longer than 1 |

No weight matrices, and so neither pruned nor counted among the prunable weights, are tables of embeddings (pruned where
a method is asked to), parameters of normalisation layers, and parameters that are added to every input, which a
leading dimension of 1 shows. A user's own parameter whose name speaks of an embedding, a position or a token is
taken for a table of embeddings. What is neither pruned nor normalisation is listed with the reason.

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

from pruneaudit.compression.parametrized import Computed, computed_tensors, source_keys

Kind = Literal["convolution", "weight", "embedding", "added"]
"""Convolutions, other weight matrices, tables of embeddings, and what is added to every input."""
_NORMALISING = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_TABLES = ("embed", "position", "token")
"""What stands in the name of a user's own parameter that is a table of embeddings."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """One tensor of two or more dimensions, however many layers use it."""

    name: str
    """Its parameter's name; of a computed one, the name that it would have as a parameter."""
    aliases: tuple[str, ...]
    """Its further names, where layers share it."""
    layers: tuple[str, ...]
    """The modules that own it, by name."""
    type: str
    """The class of the first of them."""
    kind: Kind
    weight: Tensor
    computed: Computed | None = None
    """What computes it, where it is no parameter."""

    def counts(self, embeddings: bool) -> bool:
        """Whether it is one of the prunable weights, with tables of embeddings or without."""
        return self.kind in ("convolution", "weight") or (embeddings and self.kind == "embedding")


def matrices(model: nn.Module) -> tuple[Matrix, ...]:
    """All matrices of a network, each once, in the order of its parameters."""
    found: dict[tuple[int, str], Matrix] = {}
    for layer, module, key, tensor, computed in _tensors(model):
        kind = _kind(module, key, tensor)
        if kind is None:
            continue
        name = f"{layer}.{key}" if layer else key
        # A computed tensor is another object each time it is asked for.
        identity = (id(module), key) if computed else (id(tensor), "")
        known = found.get(identity)
        if known is None:
            found[identity] = Matrix(name, (), (layer,), _type(module), kind, tensor, computed)
            continue
        # A table that a linear layer shares stays a table: whoever left it whole wants it whole.
        shared: Kind = "embedding" if "embedding" in (kind, known.kind) else known.kind
        layers, aliases = (*known.layers, layer), (*known.aliases, name)
        found[identity] = Matrix(known.name, aliases, layers, known.type, shared, known.weight, known.computed)
    return tuple(found.values())


def counted_weights(model: nn.Module, embeddings: bool = False) -> dict[str, Tensor]:
    """The prunable weights of a network, by name: what sparsity is a fraction of, whatever a method leaves out.

    Args:
        model: any network.
        embeddings: count tables of embeddings too.
    """
    return {matrix.name: matrix.weight for matrix in matrices(model) if matrix.counts(embeddings)}


def channel_axes(model: nn.Module) -> dict[str, int]:
    """Along which axis each matrix has its output channels, by name: 0, in transposed convolutions 1."""
    return {
        matrix.name: int(isinstance(model.get_submodule(matrix.layers[0]), _ConvTransposeNd))
        for matrix in matrices(model)
    }


def untouchable_layers(model: nn.Module) -> frozenset[str]:
    """Layers whose shape has to stay: they share a matrix with another layer, or compute it from other tensors."""
    found = [matrix for matrix in matrices(model) if matrix.computed or len(set(matrix.layers)) > 1]
    return frozenset(layer for matrix in found for layer in matrix.layers)


def _tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor, Computed | None]]:
    """Layer name, layer, key, tensor, and what computes it, of every tensor with two or more dimensions."""
    inside = "."  # a prefix that no name has
    for layer, module in model.named_modules(remove_duplicate=False):
        if layer.startswith(inside):
            continue  # what a parametrization consists of is counted as the tensor that it makes
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
    """What a tensor of two or more dimensions is; None for a parameter of a normalisation layer."""
    if isinstance(module, _NORMALISING):
        return None
    if isinstance(module, _EMBEDDINGS):
        return "embedding"
    if isinstance(module, _ConvNd):
        return "convolution" if key == "weight" else "added"
    if isinstance(module, nn.Linear | nn.Bilinear):
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
