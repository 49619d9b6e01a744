"""The weights of several models as one tensor each, and two ways to run them: stacked layers, or torch's vmap."""

# G models side by side, B rows, K classes, C channels, H height, W width, F features

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from pruneaudit.training.stacked_layers import MAKERS, Own, Turn

COUNTER = "num_batches_tracked"


class Stack:
    """Parameters and buffers of G models of one architecture, by name, each with a leading dimension G."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Copies the models' weights."""
        states = [dict(model.named_parameters()) for model in models]
        self.parameters = {name: _stacked([own[name] for own in states]).requires_grad_() for name in states[0]}
        kept = [dict(model.named_buffers()) for model in models]
        self.buffers = {name: _stacked([own[name] for own in kept]) for name in kept[0] if not name.endswith(COUNTER)}
        self.num_models = len(models)

    @torch.no_grad()
    def put_back(self, models: Mapping[int, nn.Module]) -> None:
        """Writes weights and buffers into models, each by its place."""
        for g, model in models.items():
            own = dict(model.named_parameters()) | dict(model.named_buffers())
            for name, stacked in (self.parameters | self.buffers).items():
                own[name].copy_(stacked[g])


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """(G, ...), a copy; convolutions' weights keep the channel last in memory, as in the plain loop."""
    if tensors[0].ndim == 4:
        return torch.stack([tensor.detach().permute(0, 2, 3, 1) for tensor in tensors]).permute(0, 1, 4, 2, 3)
    return torch.stack([tensor.detach() for tensor in tensors])


class Network(Protocol):
    """G models that are run by one call."""

    def pack(self, batches: Mapping[int, Tensor], num_rows: int) -> Tensor:
        """One input for all models, of batches (b, ...) by model; padding and models without a batch are zeros."""
        ...

    def logits(self, x: Tensor, turn: Turn) -> Tensor:
        """(G, B, K) of a packed input, in training mode; BatchNorm's running statistics are written."""
        ...


class LayeredNetwork:
    """Models run by stacked layers."""

    def __init__(self, template: nn.Module, stack: Stack) -> None:
        tensors = stack.parameters | stack.buffers
        self._run = MAKERS[type(template)](template, Own(tensors, stack.num_models))
        self._num_models = stack.num_models
        first = next(module for module in template.modules() if not list(module.children()))
        self._takes_vectors = isinstance(first, nn.Flatten)

    def pack(self, batches: Mapping[int, Tensor], num_rows: int) -> Tensor:
        """Vectors (G, B, F), or maps (B, G * C, H, W) with the channel last in memory."""
        example = next(iter(batches.values()))
        if example.ndim == 2 or self._takes_vectors:
            vectors = example.new_zeros(self._num_models, num_rows, example[0].numel())
            for g, x in batches.items():
                vectors[g, : len(x)] = x.flatten(1)
            return vectors
        channels, height, width = example.shape[1:]
        maps = example.new_zeros(num_rows, height, width, self._num_models, channels)
        for g, x in batches.items():
            maps[: len(x), :, :, g] = x.permute(0, 2, 3, 1)
        return maps.flatten(3).permute(0, 3, 1, 2)

    def logits(self, x: Tensor, turn: Turn) -> Tensor:
        """(G, B, K)."""
        return self._run(x, turn)


class MappedNetwork:
    """Models of any architecture, run by torch.func.vmap; slower, and padding is run model by model."""

    def __init__(self, template: nn.Module, stack: Stack) -> None:
        self._template = copy.deepcopy(template).train()
        self._stack = stack
        counters = {name: value for name, value in self._template.named_buffers() if name.endswith(COUNTER)}
        self._counters = {name: value.expand(stack.num_models).clone() for name, value in counters.items()}

    def pack(self, batches: Mapping[int, Tensor], num_rows: int) -> Tensor:
        """(G, B, ...)."""
        example = next(iter(batches.values()))
        packed = example.new_zeros(self._stack.num_models, num_rows, *example.shape[1:])
        for g, x in batches.items():
            packed[g, : len(x)] = x
        return packed

    def logits(self, x: Tensor, turn: Turn) -> Tensor:
        """(G, B, K)."""
        parameters, buffers = self._stack.parameters, self._stack.buffers | self._counters
        if turn.is_full:
            mapped: Tensor = torch.func.vmap(self._one)(parameters, buffers, x)
            return mapped
        outputs = {}
        for g, rows in turn.rows.items():  # statistics of BatchNorm must not see padding
            own = [{name: tensor[g] for name, tensor in tensors.items()} for tensors in (parameters, buffers)]
            outputs[g] = self._one(own[0], own[1], x[g, :rows])
        example = next(iter(outputs.values()))
        empty = example.new_zeros(turn.num_rows, example.shape[1])
        padded = [torch.cat([y, empty[len(y) :]]) for y in (outputs.get(g, empty[:0]) for g in range(turn.num_models))]
        return torch.stack(padded)

    def _one(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(self._template, {**parameters, **buffers}, (x,))
        return output
