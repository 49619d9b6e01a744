"""Blocks of MobileNets: depthwise convolutions between 1x1 convolutions, and squeeze-and-excitation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models._blocks import conv1x1, norm_layer
from pruneaudit.models.model import Norm

# B batch, C channels (K after the block), H height, W width

SQUEEZE = 4
"""Channels of a block for each hidden unit of its squeeze-and-excitation."""


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a gate that depends on the means of all channels (Hu et al. 2017, arXiv:1709.01507).

    The gate is piecewise linear, as in MobileNetV3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // SQUEEZE)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        gates = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(means))))
        return x * gates


class InvertedBottleneck(nn.Module):
    """1x1 convolution to more channels, 3x3 depthwise convolution, squeeze-and-excitation, 1x1 convolution back.

    The input is added where it has the output's shape.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, norm: Norm) -> None:
        """Makes the layers.

        Args:
            in_channels: C.
            out_channels: K.
            expansion: channels between the 1x1 convolutions, in units of C.
            stride: of the depthwise convolution.
            norm: BatchNorm or GroupNorm, after each convolution.
        """
        super().__init__()
        wide = expansion * in_channels
        self.expand, self.norm1 = conv1x1(in_channels, wide), norm_layer(norm, wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide, bias=False)
        self.norm2 = norm_layer(norm, wide)
        self.excitation = SqueezeExcitation(wide)
        self.project, self.norm3 = conv1x1(wide, out_channels), norm_layer(norm, out_channels)
        self.is_added = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, ceil(H / stride), ceil(W / stride))."""
        wide = functional.hardswish(self.norm1(self.expand(x)))
        wide = functional.hardswish(self.norm2(self.depthwise(wide)))
        result: Tensor = self.norm3(self.project(self.excitation(wide)))
        return x + result if self.is_added else result


class ConvNormHardswish(nn.Module):
    """A convolution, BatchNorm or GroupNorm, hardswish."""

    def __init__(self, conv: nn.Conv2d, norm: Norm) -> None:
        """Takes the convolution, and the kind of normalisation."""
        super().__init__()
        self.conv, self.norm = conv, norm_layer(norm, conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the shape after the convolution."""
        return functional.hardswish(self.norm(self.conv(x)))
