"""Weights that share a few values: k-means in one dimension, and the hook that keeps clusters equal in training.

One dimension makes k-means cheap: the weights are sorted once, assignment is a search among the midpoints between
centroids, and a centroid is a difference of two running sums, in float64. The same weights give the same clusters. A
weight halfway between two centroids goes to the lower one. An empty cluster keeps its centroid.
"""

# N weights, K clusters

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Constraint
from pruneaudit.training.hooks import Hook, TrainingState

Start = Literal["linear", "density", "kmeans++"]
Reduce = Literal["mean", "sum"]
MOST_ROUNDS = 1000
"""Most rounds of k-means, even if assignments still change."""


def centroids_of(values: Tensor, clusters: int, start: Start, generator: torch.Generator) -> Tensor:
    """The final centroids of k-means, ascending (at most K,) float64.

    With no more distinct values than clusters, these are the values themselves, so that nothing is lost.

    Args:
        values: (N,) at least one.
        clusters: K.
        start: the first centroids: `linear` from least to greatest value in equal steps, `density` at the
            (i + 1/2) / K quantiles, `kmeans++` at values drawn far from each other.
        generator: draws for `kmeans++`.
    """
    ordered = values.detach().cpu().sort().values.double()  # (N,)
    distinct = ordered.unique_consecutive()
    if len(distinct) <= clusters:
        return distinct
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])  # (N + 1,)
    centroids = _first(ordered, clusters, start, generator)
    before: Tensor | None = None
    for _ in range(MOST_ROUNDS):
        ends = torch.searchsorted(ordered, _middles(centroids), right=True)
        ends = torch.cat([ends.new_zeros(1), ends, ends.new_full((1,), len(ordered))])  # (K + 1,)
        if before is not None and torch.equal(ends, before):
            break
        counts = ends.diff()  # (K,)
        means = (sums[ends[1:]] - sums[ends[:-1]]) / counts.clamp(min=1)
        centroids, before = torch.where(counts > 0, means, centroids), ends
    return centroids


def _first(ordered: Tensor, clusters: int, start: Start, generator: torch.Generator) -> Tensor:
    """The first centroids of k-means, ascending (K,)."""
    if start == "linear":
        return torch.linspace(float(ordered[0]), float(ordered[-1]), clusters, dtype=torch.float64)
    if start == "density":
        places = (torch.arange(clusters, dtype=torch.float64) + 0.5) / clusters * len(ordered)
        return ordered[places.long()]
    chosen = [int(torch.randint(len(ordered), (), generator=generator))]
    distances = (ordered - ordered[chosen[0]]) ** 2
    while len(chosen) < clusters:
        at = torch.rand((), generator=generator, dtype=torch.float64) * distances.sum()
        chosen.append(min(int(torch.searchsorted(distances.cumsum(0), at, right=True)), len(ordered) - 1))
        distances = torch.minimum(distances, (ordered - ordered[chosen[-1]]) ** 2)
    return ordered[torch.tensor(sorted(chosen))]


def _middles(centroids: Tensor) -> Tensor:
    return (centroids[1:] + centroids[:-1]) / 2


def nearest(values: Tensor, centroids: Tensor) -> Tensor:
    """The index of each value's nearest centroid (of ascending ones), in its shape, int64; ties: the lower one."""
    return torch.searchsorted(_middles(centroids), values.detach().cpu().double().contiguous())


@dataclass(frozen=True)
class Codebook:
    """The values that the weights of one tensor share."""

    clusters: Tensor
    """Index of each weight's value, in the weight's shape, int64; K for removed weights, which are zero."""
    values: Tensor
    """(K,) float32, as they were before any training moved them."""

    @classmethod
    def of(cls, index: Tensor, kept: Tensor | None, values: Tensor) -> Codebook:
        """Builds a codebook from the weights' indices of values, and the weights that are kept (default: all)."""
        index = index.long()
        return cls(index if kept is None else index.masked_fill(~kept, len(values)), values.float())

    @property
    def counts(self) -> Tensor:
        """The number of weights with each value (K,)."""
        return torch.bincount(self.clusters.flatten(), minlength=len(self.values) + 1)[:-1]

    @property
    def index(self) -> Tensor:
        """Index of each weight's value, in the weight's shape, uint8; 0 for removed weights."""
        return self.clusters.masked_fill(self.clusters == len(self.values), 0).to(torch.uint8).cpu()

    def on(self, device: torch.device) -> Codebook:
        """The same codebook on a device."""
        return Codebook(self.clusters.to(device), self.values.to(device))

    def reduced(self, tensor: Tensor, how: Reduce) -> Tensor:
        """The mean or sum over each cluster's part of a tensor, (K,) float64; 0 for empty clusters."""
        sums = tensor.new_zeros(len(self.values) + 1, dtype=torch.float64)
        sums = sums.index_add_(0, self.clusters.flatten(), tensor.detach().flatten().double())[:-1]
        return sums if how == "sum" else sums / self.counts.clamp(min=1)

    def spread(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Each cluster's value (K,) at its weights, in the weight's shape; 0 for removed weights."""
        return torch.cat([values, values.new_zeros(1)]).to(dtype)[self.clusters]

    def current(self, weight: Tensor) -> Tensor:
        """The current values (K,) float32 of a weight whose clusters are equal."""
        return torch.where(self.counts > 0, self.reduced(weight, "mean").float(), self.values)


class Codebooks(Constraint):
    """Codebooks by parameter name."""

    def __init__(self, books: Mapping[str, Codebook], reduce: Reduce) -> None:
        self.books, self.reduce = dict(books), reduce

    @classmethod
    def of(cls, state: Mapping[str, Tensor], reduce: Reduce) -> Codebooks:
        """The codebooks in a stored state; see `compression.state`."""
        names = [key.removeprefix("index/") for key in state if key.startswith("index/")]
        books = {n: Codebook.of(state[f"index/{n}"], state.get(f"mask/{n}"), state[f"codebook/{n}"]) for n in names}
        return cls(books, reduce)

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """The hook that keeps the weights of each cluster equal."""
        return (HoldCodebooks(model, self),)

    @torch.no_grad()
    def write(self, model: nn.Module) -> None:
        """Sets each weight to its cluster's value, in place."""
        for name, book in self.books.items():
            weight = model.get_parameter(name)
            weight.copy_(book.on(weight.device).spread(book.values.to(weight.device), weight.dtype))

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Sets the weights of each cluster to their mean, in place."""
        for name, book in self.books.items():
            _tie(model.get_parameter(name), book.on(model.get_parameter(name).device))

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Indices and values of the model's weights."""
        found: dict[str, Tensor] = {}
        for name, book in self.books.items():
            weight = model.get_parameter(name)
            found[f"index/{name}"] = book.index
            found[f"codebook/{name}"] = book.on(weight.device).current(weight).cpu()
        return found


def _tie(weight: Tensor, book: Codebook) -> None:
    """Sets the weights of each cluster to their mean, in place; equal ones stay bit-identical."""
    weight.copy_(book.spread(book.reduced(weight, "mean"), weight.dtype))


class HoldCodebooks(Hook):
    """Trains the shared values: all weights of a cluster get the mean (or the sum) of their gradients.

    After each step every cluster is set to its mean, so that its weights stay equal with any optimizer.
    """

    def __init__(self, model: nn.Module, codebooks: Codebooks) -> None:
        weights = {name: model.get_parameter(name) for name in codebooks.books}
        self._pairs = [(weights[name], book.on(weights[name].device)) for name, book in codebooks.books.items()]
        self._reduce: Reduce = codebooks.reduce

    @torch.no_grad()
    def after_backward(self, state: TrainingState) -> None:
        """Gives all weights of a cluster one gradient."""
        for weight, book in self._pairs:
            if weight.grad is not None:
                weight.grad.copy_(book.spread(book.reduced(weight.grad, self._reduce), weight.dtype))

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Gives all weights of a cluster one value."""
        for weight, book in self._pairs:
            _tie(weight, book)
