"""Building blocks shared by models."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models.model import Norm

# B batch, C channels (K after the block), H height, W width

MAX_GROUPS = 32
LEAST_CHANNELS = 16
"""Fewest channels of a group of GroupNorm; with fewer channels in all, there is one group."""


def num_groups(channels: int) -> int:
    """The largest number of equal groups, at most `MAX_GROUPS`, with at least `LEAST_CHANNELS` channels; at least 1.

    The default of Wu and He 2018 (arXiv:1803.08494) is 32 groups; their other setting is 16 channels per group. Smaller
    groups fail on small maps: on a 1x1 map, a group of one channel is always zero.
    """
    most = min(MAX_GROUPS, channels // LEAST_CHANNELS)
    return max((groups for groups in range(1, most + 1) if channels % groups == 0), default=1)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """BatchNorm, or GroupNorm of `num_groups` groups; both have a weight and a bias per channel."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(num_groups(channels), channels)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A linear map of each pixel's channels; the normalisation provides the bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 2: halves it, rounded up); the normalisation provides the bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)


class ConvNormReLU(nn.Module):
    """3x3 convolution, BatchNorm or GroupNorm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, norm: Norm = "batch", bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels, stride, bias)
        self.norm = norm_layer(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        return functional.relu(self.norm(self.conv(x)))


class NormReLU(nn.Module):
    """Normalisation and ReLU, to end a network whose blocks begin with them."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm_layer(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return functional.relu(self.norm(x))


def overlapping_max_pool() -> nn.MaxPool2d:
    """3x3 max-pooling of stride 2, as in the stem of networks for ImageNet; it halves (H, W), rounded up."""
    return nn.MaxPool2d(3, stride=2, padding=1)


class ImageClassifier(nn.Module):
    """Layers that compute feature maps, their mean over the image, and a classifier."""

    def __init__(self, features: Iterable[nn.Module], classifier: nn.Module) -> None:
        """Takes the layers, and a classifier of the mean (B, K) of maps (B, K, H', W')."""
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        maps = self.features(x)  # (B, K, H', W')
        logits: Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


def padded(x: Tensor, multiple: int) -> Tensor:
    """Images (B, C, H, W) with zeros at their right and lower edge, so that both sides are multiples of a number."""
    height, width = x.shape[-2:]
    right, lower = -width % multiple, -height % multiple
    return functional.pad(x, (0, right, 0, lower)) if right or lower else x
