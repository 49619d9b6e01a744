"""The importance of heads and hidden units: the derivative of the loss with respect to a gate, or the size of weights.

`gradient`: Michel et al. 2019 (arXiv 1905.10650): the mean over samples of |dL/dxi|, where xi = 1 multiplies what the
unit gives to the layer behind it, and L is the cross-entropy of one sample. As there, importances are divided by their
length (L2 norm) in each layer, so that layers can be compared.

`magnitude`: the length of a unit's weights in each layer that computes or reads it, relative to the mean of that layer,
averaged over these layers.

Samples pass one by one, in evaluation mode, and sums are float64: no choice of a batch changes them.
"""

# n units of a group

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression.linear_layers import is_transposed
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.smaller_attention import all_layers_called
from pruneaudit.compression.units import UnitGroup
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered
from pruneaudit.models._outputs import logits_in
from pruneaudit.training.samples import Samples

Scores = Mapping[str, Tensor]
"""By the name of a group, the importance of its units (n,) float64 on the CPU."""


def by_gradient(model: nn.Module, groups: Sequence[UnitGroup], samples: Samples) -> dict[str, Tensor]:
    """The mean absolute derivative of the loss towards a gate on each unit, relative to its layer.

    Args:
        model: the network, on the samples' device; it does not change.
        groups: whole groups.
        samples: with labels.

    Raises:
        UserError: there are no samples, or a loss has no finite derivative.
    """
    if not len(samples):
        raise UserError("importance: 'gradient' needs samples, but there are none; use importance=magnitude")
    gates = [torch.ones(group.count, device=samples.y.device, requires_grad=True) for group in groups]
    sums = [torch.zeros(group.count, dtype=torch.float64) for group in groups]
    with ExitStack() as stack:
        stack.enter_context(all_layers_called(model))
        for group, gate in zip(groups, gates, strict=True):
            reader = model.get_submodule(next(part.layer for part in group.parts if part.side == "inputs"))
            stack.callback(reader.register_forward_pre_hook(_through(gate, group.size), with_kwargs=True).remove)
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.enable_grad())
        for place in range(len(samples)):
            x, y = samples.batch(torch.tensor([place]))
            loss = cross_entropy(logits_in(answered(model, x)), y)
            found = torch.autograd.grad(loss, gates, allow_unused=True)
            for total, derivative in zip(sums, found, strict=True):
                if derivative is not None:
                    total += derivative.detach().abs().double().cpu()
    for group, total in zip(groups, sums, strict=True):
        if not total.isfinite().all():
            raise UserError(
                f"importance: the loss of {len(samples)} samples has no finite derivative at '{group.name}'; use"
                " importance=magnitude, or weights of a training that did not diverge"
            )
    return {group.name: total / (total.norm() or 1.0) for group, total in zip(groups, sums, strict=True)}


def _through(gate: Tensor, size: int) -> Callable[..., Any]:
    """The hook that multiplies a layer's inputs by the gates of their units."""

    def multiply(
        layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        factors = gate.repeat_interleave(size)
        if inputs:
            return (inputs[0] * factors.to(inputs[0].dtype), *inputs[1:]), named
        return inputs, {key: value * factors.to(value.dtype) for key, value in named.items()}

    return multiply


@torch.no_grad()
def by_magnitude(model: nn.Module, groups: Sequence[UnitGroup]) -> dict[str, Tensor]:
    """The length of each unit's weights, relative to the mean of each layer.

    Args:
        model: the network.
        groups: whole groups.
    """
    found = {}
    for group in groups:
        lengths = []
        for part in group.parts:
            layer = model.get_submodule(part.layer)
            key = "in_proj_weight" if isinstance(layer, nn.MultiheadAttention) else "weight"
            weight = layer.get_parameter(key).double().cpu()
            by_channel = weight if (part.side == "outputs") != is_transposed(layer) else weight.T
            own = by_channel[part.offset : part.offset + group.count * (part.size or group.size)]
            norms = own.reshape(group.count, -1).norm(dim=1)
            lengths.append(norms / norms.mean().clamp(min=torch.finfo(norms.dtype).tiny))
        found[group.name] = torch.stack(lengths).mean(0)
    return found
