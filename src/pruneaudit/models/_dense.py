"""Building blocks of DenseNets: layers that append their maps to their input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models._blocks import (
    ConvNormReLU,
    ImageClassifier,
    NormReLU,
    conv1x1,
    conv3x3,
    norm_layer,
    overlapping_max_pool,
)
from pruneaudit.models.model import Norm

# B batch, C channels, G growth, H height, W width

BOTTLENECK = 4
"""Channels between the two convolutions of a layer, in units of the growth."""


class DenseLayer(nn.Module):
    """1x1 and 3x3 convolution, each after normalisation and ReLU; the result is appended to the input."""

    def __init__(self, in_channels: int, growth: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, in_channels)
        self.conv1 = conv1x1(in_channels, BOTTLENECK * growth)
        self.norm2 = norm_layer(norm, BOTTLENECK * growth)
        self.conv2 = conv3x3(BOTTLENECK * growth, growth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + G, H, W)."""
        new = self.conv1(functional.relu(self.norm1(x)))
        new = self.conv2(functional.relu(self.norm2(new)))
        return torch.cat([x, new], dim=1)


class Transition(nn.Module):
    """Between two blocks: normalisation, ReLU, a 1x1 convolution to half the channels, and pooling to half the size."""

    def __init__(self, in_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm_layer(norm, in_channels)
        self.conv = conv1x1(in_channels, in_channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C // 2, ceil(H / 2), ceil(W / 2))."""
        # Rounding up allows images of any size; a window over the edge averages the pixels inside the image.
        x = self.conv(functional.relu(self.norm(x)))
        return functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def densenet(
    in_channels: int, growth: int, layers_per_block: tuple[int, ...], num_classes: int, norm: Norm
) -> ImageClassifier:
    """A 3x3 stem of stride 1 with max-pooling, blocks of dense layers with transitions between them, a classifier."""
    channels = 2 * growth
    features: list[nn.Module] = [ConvNormReLU(in_channels, channels, norm=norm), overlapping_max_pool()]
    for block, num_layers in enumerate(layers_per_block):
        if block:
            features.append(Transition(channels, norm))
            channels //= 2
        for _ in range(num_layers):
            features.append(DenseLayer(channels, growth, norm))
            channels += growth
    return ImageClassifier([*features, NormReLU(channels, norm)], nn.Linear(channels, num_classes))
