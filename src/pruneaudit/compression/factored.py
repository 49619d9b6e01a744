"""The module that replaces a layer in a factorised network: two layers in a row, of low rank."""

# m outputs, n inputs of a matrix, r rank; o output channels, i input channels, h x k kernel

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import skip_init

from pruneaudit.compression.linear_layers import linear_widths

Form = Literal["linear", "transposed", "channel", "spatial"]
"""How a weight tensor is read as a matrix; see `compression.factors`."""
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The convolutions that can become two."""
PARTS = ("reduce", "expand")
"""The names of the two layers, in order."""


def possible_parameters(layer: str) -> tuple[str, ...]:
    """The names that a layer's weights can have: its own, or those of the two layers in its place."""
    return tuple(
        ".".join(part for part in (layer, *inside, "weight") if part) for inside in ((), *((p,) for p in PARTS))
    )


class Factored(nn.Module):
    """Two layers in the place of one: `reduce`, then `expand`.

    It has the attributes of the layer that it replaces, for networks that read them: sizes, `bias`, and the product of
    both layers as `weight`.

    Example:
        >>> Factored(nn.Linear(64, 10), "linear", 4)(torch.zeros(1, 64)).shape
        torch.Size([1, 10])
    """

    def __init__(self, layer: nn.Module, form: Form, rank: int) -> None:
        """Takes the shapes of a layer; all weights are 0.

        Args:
            layer: an `nn.Linear`, a `Conv1D` of transformers, or a convolution that is neither grouped nor
                transposed.
            form: how to split it.
            rank: r.
        """
        super().__init__()
        self.form, self.rank = form, rank
        constants = ("nf", "nx") if form == "transposed" else layer.__constants__
        for key in constants if isinstance(constants, list | tuple) else ():
            if key in vars(layer):
                setattr(self, key, vars(layer)[key])
        self.reduce, self.expand = _two_layers(layer, form, rank)
        for part in (self.reduce, self.expand):
            for key, parameter in part.named_parameters():
                nn.init.zeros_(parameter)
                parameter.requires_grad_(layer.get_parameter(key).requires_grad)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the layer that it replaces, up to the error of rank r."""
        result: Tensor = self.expand(self.reduce(x))
        return result

    @property
    def weight(self) -> Tensor:
        """The product of both layers' weights, in the shape of the weight that they replace."""
        first, second = self.reduce.weight, self.expand.weight
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        if self.form == "spatial":
            return torch.einsum("orh,rik->oihk", second[..., 0], first[:, :, 0])
        product = (second.flatten(1) @ first.flatten(1)).view(-1, *first.shape[1:])
        return product.T if self.form == "transposed" else product

    @property
    def bias(self) -> Tensor | None:
        """The bias of the second layer."""
        bias = self.expand.bias
        return bias if isinstance(bias, Tensor) else None

    @torch.no_grad()
    def fill(self, reduce: Tensor, expand: Tensor) -> None:
        """Sets the weights of both layers.

        Args:
            reduce: (r, columns) as `Split` gives it.
            expand: (rows, r).
        """
        first, second = self.reduce.weight, self.expand.weight
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        if self.form == "spatial":
            expand = expand.view(second.shape[0], second.shape[2], -1).mT  # (o, r, h)
        first.copy_(reduce.view(first.shape))
        second.copy_(expand.reshape(second.shape))


def _two_layers(layer: nn.Module, form: Form, rank: int) -> tuple[nn.Module, nn.Module]:
    """The two layers, not filled; no random numbers are drawn for them."""
    assert isinstance(layer.weight, Tensor)
    common: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    has_bias = layer.bias is not None
    if form in ("linear", "transposed"):
        inputs, outputs = linear_widths(layer)
        return (
            skip_init(nn.Linear, inputs, rank, bias=False, **common),
            skip_init(nn.Linear, rank, outputs, bias=has_bias, **common),
        )
    assert isinstance(layer, CONVOLUTIONS)
    kind = type(layer)
    settings = {"padding_mode": layer.padding_mode, **common}
    if form == "channel":
        own = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        return (
            skip_init(kind, layer.in_channels, rank, layer.kernel_size, bias=False, **own, **settings),
            skip_init(kind, rank, layer.out_channels, 1, bias=has_bias, **common),
        )
    down, across = (_along(layer, axis) for axis in (0, 1))
    return (
        skip_init(kind, layer.in_channels, rank, bias=False, **across, **settings),
        skip_init(kind, rank, layer.out_channels, bias=has_bias, **down, **settings),
    )


def _along(layer: _ConvNd, axis: int) -> dict[str, Any]:
    """The arguments of a two-dimensional convolution along one axis alone."""

    def only(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if place == axis else other for place, value in enumerate(values))

    padding = layer.padding if isinstance(layer.padding, str) else only(layer.padding, 0)
    return {
        "kernel_size": only(layer.kernel_size, 1),
        "stride": only(layer.stride, 1),
        "dilation": only(layer.dilation, 1),
        "padding": padding,
    }
