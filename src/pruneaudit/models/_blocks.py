"""The layers that the models are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

# B batch, C channels (K after the block), H height, W width


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 2: halves it, rounded up); its bias is BatchNorm's."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


class ConvNormReLU(nn.Module):
    """3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels, stride)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        return functional.relu(self.norm(self.conv(x)))


class PaddedShortcut(nn.Module):
    """He et al. 2015, option A: every second pixel, and new channels that are zero. No parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        new = out_channels - in_channels
        self.before, self.after = new // 2, new - new // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / 2), ceil(W / 2))."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class ProjectedShortcut(nn.Module):
    """He et al. 2015, option B: 1x1 convolution of stride 2 and BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / 2), ceil(W / 2))."""
        projected: Tensor = self.norm(self.conv(x))
        return projected


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them, added before the last ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: Literal["A", "B"]) -> None:
        """A block of stride 1 keeps the channels; one of stride 2 has the shortcut of He et al.'s option A or B."""
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module
        if stride == 1:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = {"A": PaddedShortcut, "B": ProjectedShortcut}[shortcut](in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        residual = functional.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return functional.relu(residual + self.shortcut(x))


class ImageClassifier(nn.Module):
    """Layers that make feature maps, their mean over the image, and a linear classifier."""

    def __init__(self, features: Iterable[nn.Module], num_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        maps = self.features(x)  # (B, K, H', W')
        logits: Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def resnet(
    in_channels: int, widths: tuple[int, ...], blocks_per_stage: int, shortcut: Literal["A", "B"], num_classes: int
) -> ImageClassifier:
    """A CIFAR ResNet: a 3x3 stem, one stage of blocks per width (each but the first halves the size), a classifier."""
    features: list[nn.Module] = [ConvNormReLU(in_channels, widths[0])]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks_per_stage):
            stride = 2 if stage and not block else 1
            features.append(BasicBlock(channels, width, stride, shortcut))
            channels = width
    return ImageClassifier(features, channels, num_classes)
