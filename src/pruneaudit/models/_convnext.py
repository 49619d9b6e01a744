"""Blocks of ConvNeXt: depthwise convolutions, linear layers at each pixel, and a learned scale of each block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models._blocks import padded
from pruneaudit.models.init import Constant

# B batch, C channels (K after a layer), H height, W width

EXPANSION = 4
"""Hidden units of a block, in units of its channels."""


class LayerScale(nn.Module):
    """Multiplies each channel, the last axis, by a learned number (Touvron et al. 2021, arXiv:2103.17239)."""

    def __init__(self, channels: int, value: float) -> None:
        """Takes the number of channels, and the initial value of each number."""
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), value))
        self.initial_values = {"scale": Constant(value)}

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        return x * self.scale


class ConvNextBlock(nn.Module):
    """7x7 depthwise convolution, LayerNorm, two linear layers with GELU between them, a scale; added to the input."""

    def __init__(self, channels: int, layer_scale: float) -> None:
        """Takes the number of channels, and the initial scale."""
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, EXPANSION * channels)
        self.fc2 = nn.Linear(EXPANSION * channels, channels)
        self.scale = LayerScale(channels, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        pixels = self.norm(self.depthwise(x).permute(0, 2, 3, 1))  # (B, H, W, C)
        pixels = self.scale(self.fc2(functional.gelu(self.fc1(pixels))))
        return x + pixels.permute(0, 3, 1, 2)


class Patches(nn.Module):
    """A convolution whose stride is its size; images are padded with zeros to whole patches."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, side, stride=side)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / side), ceil(W / side))."""
        maps: Tensor = self.conv(padded(x, self.conv.kernel_size[0]))
        return maps


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        maps: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return maps
