"""Trains strided 1x1 convolutions with few channels, avoiding a kernel that corrupts memory.

On some CPUs (seen: AMD EPYC with AVX2, torch 2.13.0) oneDNN writes past its buffer when it computes the weights'
gradient of a strided 1x1 convolution in channels-last order with 2 to 6 input channels. The process then aborts
some time later. Channel pruning creates such layers in the shortcuts of residual networks. A 1x1 convolution with a
stride uses only every stride-th pixel, so the layer selects those pixels first and needs no stride.
"""

# B batch, K input channels, O output channels, H height, W width

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import conv2d

SAFE_CHANNELS = 16
"""Layers with at least this many input channels do not change: the widest CPU vectors hold 16 float32 values."""


class _Subsampled(nn.Conv2d):
    """A strided 1x1 convolution that selects its pixels first."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, O, H / stride, W / stride) of inputs (B, K, H, W)."""
        rows, columns = self.stride
        return conv2d(x[..., ::rows, ::columns], self.weight, self.bias, groups=self.groups)


@contextmanager
def sound_strides(model: nn.Module) -> Iterator[None]:
    """Within the context, turns the network's strided 1x1 convolutions with few channels into `_Subsampled`.

    Only the class of a layer changes: weights, hooks and copies made meanwhile stay valid.
    """
    changed = [layer for layer in model.modules() if _is_unsound(layer)]
    for layer in changed:
        layer.__class__ = _Subsampled
    try:
        yield
    finally:
        for layer in changed:
            layer.__class__ = nn.Conv2d


def _is_unsound(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.padding in ((0, 0), "valid")
        and layer.in_channels // layer.groups < SAFE_CHANNELS
        and layer.weight.device.type == "cpu"
    )
