"""Silences channels of a network at their source only.

Filters and biases of the channels are zero. Norms compute over the other channels, as in a network without the
silenced ones, and give zero for these. Layers that read the channels do not change.
"""

# B batch, C channels, n channels of a group

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from pruneaudit.compression.parametrized import copied

Norm = _NormBase | nn.GroupNorm | nn.LayerNorm
Places = Mapping[str, Tensor]
"""By parameter or buffer name: for each number of the smaller tensor, its place in the flattened dense tensor."""


@torch.no_grad()
def silenced(dense: nn.Module, places: Places) -> tuple[nn.Module, dict[str, Tensor]]:
    """Silences the channels that a smaller network lacks.

    Args:
        dense: the whole network; it does not change.
        places: the places of the smaller one's numbers.

    Returns:
        A copy with these channels silent, and by layer the outputs that each convolution and linear layer lost (n,).
    """
    silent, lost = copied(dense), {}
    for name, layer in silent.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(layer, _ConvNd | nn.Linear) and f"{prefix}weight" in places:
            of_filter = output_of_each(layer)
            there = torch.zeros(num_outputs(of_filter), dtype=torch.bool, device=of_filter.device)
            first = places[f"{prefix}weight"].flatten(2)[..., 0] if layer.weight.ndim > 2 else places[f"{prefix}weight"]
            there[of_filter.flatten()[first // layer.weight[0, 0].numel()]] = True  # no filter loses a part
            gone = (~there).nonzero()[:, 0]
            if len(gone):
                lost[name] = gone
                layer.weight.mul_(there[of_filter].view(*of_filter.shape, *(1,) * (layer.weight.ndim - 2)))
                if layer.bias is not None:
                    layer.bias[gone] = 0
        elif isinstance(layer, Norm):
            known = [f"{prefix}{part}" for part in ("weight", "running_mean") if f"{prefix}{part}" in places]
            tensors = dict(layer.named_parameters(recurse=False)) | dict(layer.named_buffers(recurse=False))
            if known:
                kept = places[known[0]].flatten()
                if len(kept) < tensors[known[0].rpartition(".")[2]].numel():
                    _norm_over(layer, kept)
    return silent, lost


def output_of_each(layer: nn.Module) -> Tensor:
    """Which output each filter belongs to, in the first two dimensions of a convolution's or linear layer's weight."""
    weight = layer.get_parameter("weight")
    first = torch.arange(len(weight), device=weight.device).view(-1, 1)
    if not getattr(layer, "transposed", False):
        return first.expand(weight.shape[:2])
    assert isinstance(layer, _ConvNd)
    second = torch.arange(weight.shape[1], device=weight.device)
    group = first // (layer.in_channels // layer.groups)
    return group * weight.shape[1] + second


def num_outputs(of_filter: Tensor) -> int:
    """The number of outputs, from the output of each filter; see `output_of_each`."""
    return int(of_filter.max()) + 1


def _norm_over(layer: nn.Module, kept: Tensor) -> None:
    """Makes a norm compute over the kept channels only, and give zero for the others."""

    def compute(norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return _kept_norm(norm, inputs[0], output, kept)

    layer.register_forward_hook(compute)


def _kept_norm(norm: nn.Module, x: Tensor, output: Tensor, kept: Tensor) -> Tensor:
    """The outputs of a norm over some channels, zero elsewhere.

    Args:
        norm: the layer.
        x: its inputs, (B, C, ...); LayerNorm's (..., C).
        output: its outputs over all channels.
        kept: the channels that stay (n,); LayerNorm's: places in its normalised shape, flattened.
    """
    if isinstance(norm, nn.LayerNorm):
        first = x.ndim - len(norm.normalized_shape)
        flat, result = x.flatten(first), torch.zeros_like(x).flatten(first)
        weight, bias = (None if p is None else p.flatten()[kept] for p in (norm.weight, norm.bias))
        result[..., kept] = functional.layer_norm(flat[..., kept], (len(kept),), weight, bias, norm.eps)
        return result.view(x.shape)
    result = torch.zeros_like(output)
    if isinstance(norm, nn.GroupNorm):
        width = norm.num_channels // norm.num_groups
        for group in range(norm.num_groups):
            own = kept[kept // width == group]
            if len(own):
                result[:, own] = functional.group_norm(x[:, own], 1, norm.weight[own], norm.bias[own], norm.eps)
        return result
    result[:, kept] = output[:, kept]  # channels do not depend on each other
    return result
