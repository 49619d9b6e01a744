"""The size of a network: parameters, multiply-accumulates (MACs) and bit operations.

A MAC is one multiplication and one addition, so two FLOPs. Convolutions and linear
layers are counted, the projections of attention among them; biases, normalisation, activations, pooling, and the two
products of attention that have no weights (queries with keys, and attention with values) are not. Zeros are counted
like any other weight, because a dense kernel multiplies by them: masks alone make nothing faster. Texts count with
their padding, which networks compute too.

Bit operations are MACs times the bits of a weight times the bits of an input, 32 each where nothing is quantised.
Weights on a grid have the bits of its codes; shared values are float32, so clustering saves none. They are what an
integer kernel could save, not a time.
"""

# B batch, C channels, H height, W width, F features

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pruneaudit.compression.linear_layers import is_linear, linear_widths
from pruneaudit.compression.smaller_attention import FewerHeads, without_shortcuts
from pruneaudit.data.inputs import Inputs, answered

FLOAT_BITS = 32
"""Bits of an uncompressed weight or input."""
INPUT_CODE_BITS = 8
"""Bits of the inputs of a layer with the buffer `INPUT_SCALE`."""
INPUT_SCALE = "input_scale"
"""The buffer of a layer whose inputs are quantised."""


def num_parameters(model: nn.Module) -> int:
    """Elements of all parameters, including biases and normalisation."""
    return sum(parameter.numel() for parameter in model.parameters())


def num_nonzero(model: nn.Module) -> int:
    """Elements of all parameters that are not zero."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


def count_macs(model: nn.Module, example: Inputs) -> int:
    """MACs of one pass through all convolutions and linear layers.

    Args:
        model: the network; its mode does not change.
        example: (B, C, H, W), (B, F) or texts, on the model's device; with B = 1, the MACs of one sample.
    """
    return sum(layer_macs(model, example).values())


def layer_macs(model: nn.Module, example: Inputs) -> dict[str, int]:
    """MACs of one pass by layer name, summed over all uses of a layer; by parameter name for weights of other names.

    Args:
        model: the network; its mode does not change.
        example: (B, C, H, W), (B, F) or texts, on the model's device.
    """
    macs: dict[str, int] = {}

    def counting(name: str) -> Callable[[nn.Module, Any, dict[str, Any], Any], None]:
        def count(layer: nn.Module, inputs: Any, named: dict[str, Any], output: Any) -> None:
            if isinstance(layer, nn.MultiheadAttention):
                found = {
                    f"{name}.{key}" if name else key: number for key, number in _of_attention(layer, inputs, named)
                }
            else:
                found = {name: _macs(layer, inputs[0] if inputs else named["input"], output)}
            for key, number in found.items():
                macs[key] = macs.get(key, 0) + number

        return count

    counted = {name: m for name, m in model.named_modules() if _is_counted(m)}
    handles = [layer.register_forward_hook(counting(name), with_kwargs=True) for name, layer in counted.items()]
    try:
        with evaluating(model), torch.no_grad(), without_shortcuts():
            answered(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return macs


def count_bit_operations(model: nn.Module, macs: Mapping[str, int], state: Mapping[str, Tensor]) -> int:
    """Bit operations of one pass.

    Args:
        model: the network.
        macs: from `layer_macs`.
        state: its compressed state; empty: not compressed.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> count_bit_operations(layer, layer_macs(layer, torch.zeros(1, 3)), {})
        6144
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    modules = dict(model.named_modules())
    total = 0
    for layer, number in macs.items():
        owner, _, key = (layer, "", "weight") if layer in modules else layer.rpartition(".")
        module = modules[owner]
        own = module._parameters.get(key)  # reading a computed weight in training mode could change buffers
        weights = code_bits(state, names.get(id(own), "")) or FLOAT_BITS
        inputs = INPUT_CODE_BITS if INPUT_SCALE in dict(module.named_buffers(recurse=False)) else FLOAT_BITS
        total += number * weights * inputs
    return total


def code_bits(state: Mapping[str, Tensor], name: str) -> int | None:
    """Bits of the codes of a parameter on a grid; None if it is on none."""
    if f"codes/{name}" not in state:
        return None
    low, high, *_ = state[f"grid/{name}"].tolist()
    return math.ceil(math.log2(high - low + 1))


def _is_counted(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd | nn.MultiheadAttention) or is_linear(module)


def _of_attention(layer: nn.MultiheadAttention, inputs: Any, named: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """MACs of torch's attention by weight: it reads them without calling a layer."""
    given = [*inputs, *(named[key] for key in ("query", "key", "value")[len(inputs) :])][:3]
    positions = [x.numel() // x.shape[-1] for x in given]
    joint = layer._parameters.get("in_proj_weight")
    if joint is not None:
        yield "in_proj_weight", joint.numel() // 3 * sum(positions)
    else:
        for key, number in zip("qkv", positions, strict=True):
            yield f"{key}_proj_weight", layer.get_parameter(f"{key}_proj_weight").numel() * number
    if not isinstance(layer, FewerHeads):
        yield "out_proj", layer.out_proj.weight.numel() * positions[0]


def _macs(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Every weight is used once for each position of the output (transposed: of the input) and each sample."""
    assert isinstance(layer.weight, Tensor)  # no parameter if weight_norm computes it
    weights = layer.weight.numel()
    if isinstance(layer, _ConvTransposeNd):
        return weights * (x.numel() // layer.in_channels)
    if isinstance(layer, _ConvNd):
        return weights * (output.numel() // layer.out_channels)
    return weights * (output.numel() // linear_widths(layer)[1])


def layer_widths(model: nn.Module) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each convolution and linear layer, by layer name."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, _ConvNd):
            found[name] = (layer.in_channels, layer.out_channels)
        elif is_linear(layer):
            found[name] = linear_widths(layer)
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
