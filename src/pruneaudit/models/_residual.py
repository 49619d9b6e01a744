"""Residual blocks, and the networks built from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

# B batch, C channels (K after the block), H height, W width

Shortcut = Literal["A", "B"]
"""He et al. 2015, section 3.3: if a block changes the shape, A pads channels with zeros, B projects."""


class PaddedShortcut(nn.Module):
    """He et al. 2015, option A: every second pixel, with zeros as new channels. No parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        new = out_channels - in_channels
        self.before, self.after = new // 2, new - new // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / 2), ceil(W / 2))."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class ProjectedShortcut(nn.Module):
    """He et al. 2015, option B: 1x1 convolution and normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv = conv1x1(in_channels, out_channels, stride)
        self.norm = norm_layer(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        projected: Tensor = self.norm(self.conv(x))
        return projected


def shortcut_around(in_channels: int, out_channels: int, stride: int, kind: Shortcut, norm: Norm) -> nn.Module:
    """The shortcut around a block: the input itself, if the block keeps the shape."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "B":
        return ProjectedShortcut(in_channels, out_channels, stride, norm)
    assert stride == 2, "zero-padded shortcuts need a stride of 2"
    return PaddedShortcut(in_channels, out_channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them, added before the last ReLU."""

    expansion = 1
    """Channels of the output, in units of the block's width."""

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: Shortcut, norm: Norm) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.norm1 = norm_layer(norm, width)
        self.conv2 = conv3x3(width, width)
        self.norm2 = norm_layer(norm, width)
        self.shortcut = shortcut_around(in_channels, width, stride, shortcut, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        residual = functional.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return functional.relu(residual + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, the last to four times the width, and a shortcut around them."""

    expansion = 4
    """Channels of the output, in units of the block's width."""

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: Shortcut, norm: Norm) -> None:
        """Gives the 3x3 convolution the stride, as in most programs; in the paper the first one has it."""
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = conv1x1(in_channels, width)
        self.norm1 = norm_layer(norm, width)
        self.conv2 = conv3x3(width, width, stride)
        self.norm2 = norm_layer(norm, width)
        self.conv3 = conv1x1(width, out_channels)
        self.norm3 = norm_layer(norm, out_channels)
        self.shortcut = shortcut_around(in_channels, out_channels, stride, shortcut, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        residual = functional.relu(self.norm1(self.conv1(x)))
        residual = functional.relu(self.norm2(self.conv2(residual)))
        residual = self.norm3(self.conv3(residual))
        return functional.relu(residual + self.shortcut(x))


class PreActivationBlock(nn.Module):
    """Normalisation and ReLU before each of two 3x3 convolutions; nothing follows the addition."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm) -> None:
        """Projects if the number of channels changes; the shortcut then starts after the first ReLU."""
        super().__init__()
        self.norm1 = norm_layer(norm, in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.norm2 = norm_layer(norm, out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.shortcut = conv1x1(in_channels, out_channels, stride) if in_channels != out_channels else None
        assert self.shortcut or stride == 1, "a block that halves the size changes the channels"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        activated = functional.relu(self.norm1(x))
        residual = self.conv1(activated)
        residual = self.conv2(functional.relu(self.norm2(residual)))
        kept = self.shortcut(activated) if self.shortcut else x
        total: Tensor = residual + kept
        return total


@dataclass(frozen=True)
class Blocks:
    """The blocks in each stage of a ResNet."""

    kind: type[BasicBlock] | type[Bottleneck]
    per_stage: int
    shortcut: Shortcut
    norm: Norm


def resnet(
    in_channels: int, widths: tuple[int, ...], blocks: Blocks, num_classes: int, max_pool: bool = False
) -> ImageClassifier:
    """A ResNet: a 3x3 stem, one stage of blocks per width (each but the first halves the size), a classifier."""
    block, norm = blocks.kind, blocks.norm
    features: list[nn.Module] = [ConvNormReLU(in_channels, widths[0], norm=norm)]
    if max_pool:
        features.append(overlapping_max_pool())
    channels = widths[0]
    for stage, width in enumerate(widths):
        for index in range(blocks.per_stage):
            stride = 2 if stage and not index else 1
            features.append(block(channels, width, stride, blocks.shortcut, norm))
            channels = block.expansion * width
    return ImageClassifier(features, nn.Linear(channels, num_classes))


def wide_resnet(
    in_channels: int, stem: int, widths: tuple[int, ...], blocks_per_stage: int, num_classes: int, norm: Norm
) -> ImageClassifier:
    """A 3x3 stem of `stem` channels, one stage of pre-activation blocks per width, and a classifier.

    Each stage but the first halves the size; its first block must change the number of channels.
    """
    features: list[nn.Module] = [conv3x3(in_channels, stem)]
    channels = stem
    for stage, width in enumerate(widths):
        for index in range(blocks_per_stage):
            stride = 2 if stage and not index else 1
            features.append(PreActivationBlock(channels, width, stride, norm))
            channels = width
    return ImageClassifier([*features, NormReLU(channels, norm)], nn.Linear(channels, num_classes))
