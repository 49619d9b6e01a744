"""ConvNeXt: a convolutional network of depthwise convolutions, LayerNorm and GELU, for small images.

Liu et al. 2022 (arXiv:2201.03545): patches, stages of blocks (7x7 depthwise convolution, LayerNorm, two linear layers
at each pixel, a learned scale), LayerNorm and a strided convolution between stages, the mean over the image, LayerNorm,
a linear classifier. Deviations: a size for small images (its Tiny has patches of 4 pixels and four stages of 3, 3, 9
and 3 blocks with 96 to 768 channels); blocks are not skipped at random; the scale begins at .1 instead of 1e-6, because
with 1e-6 the blocks have little effect in short trainings; images of odd sides are padded with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.models.init import Initialisation
from pruneaudit.models.model import Model, NetworkOptions, Width, image_channels

if TYPE_CHECKING:
    import torch

STAGES = 3
"""Stages, each with twice as many channels as the one before, on maps half as high and wide."""


class ConvNextOptions(NetworkOptions):
    """Its size."""

    init: Initialisation = "xavier_normal"
    """Distribution of the initial weights of convolutions and linear layers."""
    width: Width = 32
    """Channels of the first stage; the others have 2 and 4 times as many."""
    layers: int = Field(default=2, ge=1, le=64)
    """Blocks of each stage."""
    patch: int = Field(default=2, ge=1, le=64)
    """Side of the first convolution's patches in pixels."""
    layer_scale: float = Field(default=0.1, gt=0, le=1)
    """Initial value of the learned scale of each block."""


class ConvNext(Model[ConvNextOptions]):
    """The convolutional network with depthwise blocks and layer scale."""

    def build(self, options: ConvNextOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Patches, three stages of blocks, the mean over the image, LayerNorm, a linear classifier."""
        channels, width = image_channels("convnext", input_shape), options.width
        from torch import nn

        from pruneaudit.models._blocks import ImageClassifier
        from pruneaudit.models._convnext import ChannelNorm, ConvNextBlock, Patches

        features: list[nn.Module] = [Patches(channels, width, options.patch), ChannelNorm(width)]
        for stage in range(STAGES):
            if stage:
                features += [ChannelNorm(width), Patches(width, 2 * width, 2)]
                width *= 2
            features += [ConvNextBlock(width, options.layer_scale) for _ in range(options.layers)]
        return ImageClassifier(features, nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes)))


MODEL = ConvNext()
