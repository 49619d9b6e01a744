"""The size of a network: parameters and multiply-accumulates (MACs).

A MAC is one multiplication and one addition, so two FLOPs. Convolutions and linear
layers are counted; biases, normalisation, activations and pooling are not. Zeros are counted like
any other weight, because a dense kernel multiplies by them: masks alone make nothing faster.
"""

# B batch, C channels, H height, W width, F features

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def num_parameters(model: nn.Module) -> int:
    """Elements of all parameters, including biases and normalisation."""
    return sum(parameter.numel() for parameter in model.parameters())


def num_nonzero(model: nn.Module) -> int:
    """Elements of all parameters that are not zero."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


def count_macs(model: nn.Module, example: Tensor) -> int:
    """MACs of one pass through all convolutions and linear layers.

    Args:
        model: the network; its mode does not change.
        example: (B, C, H, W) or (B, F) on the model's device; with B = 1, the MACs of one sample.
    """
    return sum(layer_macs(model, example).values())


def layer_macs(model: nn.Module, example: Tensor) -> dict[str, int]:
    """MACs of one pass by layer name, summed over all uses of a layer.

    Args:
        model: the network; its mode does not change.
        example: (B, C, H, W) or (B, F) on the model's device.
    """
    macs: dict[str, int] = {}

    def counting(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            macs[name] = macs.get(name, 0) + _macs(layer, inputs[0], output)

        return count

    counted = {name: m for name, m in model.named_modules() if isinstance(m, _ConvNd | nn.Linear)}
    handles = [layer.register_forward_hook(counting(name)) for name, layer in counted.items()]
    try:
        with evaluating(model), torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return macs


def _macs(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Every weight is used once for each position of the output (transposed: of the input) and each sample."""
    assert isinstance(layer.weight, Tensor)  # no parameter if weight_norm computes it
    weights = layer.weight.numel()
    if isinstance(layer, _ConvTransposeNd):
        return weights * (x.numel() // layer.in_channels)
    if isinstance(layer, _ConvNd):
        return weights * (output.numel() // layer.out_channels)
    assert isinstance(layer, nn.Linear)
    return weights * (output.numel() // layer.out_features)


def layer_widths(model: nn.Module) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each convolution and linear layer, by layer name."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, _ConvNd):
            found[name] = (layer.in_channels, layer.out_channels)
        elif isinstance(layer, nn.Linear):
            found[name] = (layer.in_features, layer.out_features)
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts the model in evaluation mode; afterwards every part returns to its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
