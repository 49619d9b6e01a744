"""Counts a network's remaining weights, in total and by layer. A tensor that layers share counts once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from pruneaudit.compression.factored import Factored
from pruneaudit.compression.macs import num_parameters
from pruneaudit.compression.matrices import Kind, Matrix, counted_weights, matrices

WHY_WHOLE = {"embedding": "a table of embeddings", "added": "added to every input"}
"""Why matrices of these kinds are not pruned."""


@dataclass(frozen=True)
class LayerSize:
    """One layer's weights."""

    name: str
    """Its module name; for tensors not called `weight`, the parameter's full name."""
    type: str
    """Its class, such as `Conv2d`."""
    shape: tuple[int, ...]
    """Shape of its weight tensor."""
    weights: int
    """Elements of the weight tensor, without the bias."""
    nonzero: int
    """Elements that are not zero."""
    kind: Kind | Literal["vector"]
    """Kind of tensor, as in `matrices`; `vector` if no method can prune it, such as BatchNorm's factors."""
    parameter: str
    """The parameter's name; empty if the tensor is computed from others."""
    computed_by: str
    """The function that computes it, such as `weight_norm`; empty for a parameter."""
    shared_with: tuple[str, ...]
    """Other layers that use this tensor."""
    replaces: str = ""
    """The layer of the dense network that became this one and another, of low rank; empty: it is a layer of its own."""

    @property
    def dense_name(self) -> str:
        """The name of the dense network's layer that its weights stand for."""
        return self.replaces or self.name

    @property
    def sparsity(self) -> float:
        """Fraction of its weights that are zero, in [0, 1]."""
        return 1 - self.nonzero / self.weights

    @property
    def why_whole(self) -> str:
        """Why no method prunes it; empty if methods can prune it."""
        return f"computed by {self.computed_by}" if self.computed_by else WHY_WHOLE.get(self.kind, "")


def layer_table(model: nn.Module) -> tuple[LayerSize, ...]:
    """One row for every weight matrix and for every layer with a `weight`, in the order of the network."""
    by_name = {matrix.name: matrix for matrix in matrices(model)}
    shared = {name for matrix in by_name.values() for name in matrix.aliases}
    owned: dict[str, list[Matrix]] = defaultdict(list)
    for matrix in by_name.values():
        owned[matrix.layers[0]].append(matrix)
    rows: list[LayerSize] = []
    for layer, module in model.named_modules():
        outer = layer.rpartition(".")[0]
        pair = outer if isinstance(model.get_submodule(outer), Factored) else ""
        rows += [replace(_row(matrix), replaces=pair) for matrix in owned[layer] if matrix.weight.numel()]
        weight, name = module._parameters.get("weight"), f"{layer}.weight" if layer else "weight"
        if weight is not None and weight.numel() and name not in by_name and name not in shared:
            rows.append(LayerSize(layer, type(module).__name__, *_size(weight), "vector", name, "", ()))
    return tuple(rows)


def weights_left(rows: Iterable[LayerSize], left: Iterable[int]) -> dict[str, int]:
    """The number of remaining weights that stand for each layer of the dense network, by its name.

    Args:
        rows: the rows of the released network.
        left: the number of remaining weights of each row.
    """
    total: dict[str, int] = defaultdict(int)
    for row, number in zip(rows, left, strict=True):
        total[row.dense_name] += number
    return dict(total)


def _row(matrix: Matrix) -> LayerSize:
    by = matrix.computed.by if matrix.computed else ""
    parameter = "" if by else matrix.name
    name, *others = (_layer_name(name) for name in (matrix.name, *matrix.aliases))
    return LayerSize(name, matrix.type, *_size(matrix.weight), matrix.kind, parameter, by, tuple(others))


def _layer_name(name: str) -> str:
    return "" if name == "weight" else name.removesuffix(".weight")


def _size(weight: Tensor) -> tuple[tuple[int, ...], int, int]:
    return tuple(weight.shape), weight.numel(), int(weight.count_nonzero())


def left_whole(rows: Iterable[LayerSize], sparsities: Iterable[float]) -> list[dict[str, Any]]:
    """The matrices that pruning has left unchanged, with the reason if there is one, as JSON data.

    Args:
        rows: the rows of the released network.
        sparsities: for each row, the fraction of the dense layer's weights that is zero or removed.
    """
    return [
        {"name": row.name, "weights": row.weights, "why": row.why_whole}
        for row, sparsity in zip(rows, sparsities, strict=True)
        if row.kind != "vector" and sparsity == 0
    ]


def weight_counts(
    model: nn.Module,
    dense: Mapping[str, Any] | None = None,
    embeddings: bool = False,
    left: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Counts the remaining weights of a network: of all parameters, and of the prunable weights.

    Args:
        model: the network.
        dense: the counts of the network before pruning; removed weights then count as zeros. Default: `model` is dense.
        embeddings: count tables of embeddings among the prunable weights.
        left: the number of remaining weights of a parameter, if its zeros do not show it; see `state.num_left`.
    """
    weights = counted_weights(model, embeddings)
    parameters, nonzero = num_parameters(model), _num_left(dict(model.named_parameters()), left)
    whole = dense or {"parameters": parameters, "prunable_weights": sum(weight.numel() for weight in weights.values())}
    not_removed, prunable = _num_left(weights, left), whole["prunable_weights"]
    return {
        "parameters": parameters,
        "nonzero_parameters": nonzero,
        "prunable_weights": prunable,
        "sparsity": 1 - not_removed / prunable if prunable else 0.0,
        "sparsity_all": 1 - nonzero / whole["parameters"],
    }


def _num_left(weights: Mapping[str, Tensor], left: Mapping[str, int] | None) -> int:
    """The number of remaining weights in some tensors."""
    known = left or {}
    return sum(known[name] if name in known else int(weight.count_nonzero()) for name, weight in weights.items())
