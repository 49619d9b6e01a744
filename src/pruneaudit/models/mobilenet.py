"""MobileNet: a small network of depthwise convolutions with squeeze-and-excitation, for small images.

Inverted bottlenecks as in Howard et al. 2019 (MobileNetV3, arXiv:1905.02244): 1x1 convolution, 3x3 depthwise
convolution, squeeze-and-excitation with a piecewise linear gate, 1x1 convolution, hardswish. Deviations: one layout for
small images (a 3x3 stem of stride 2, three stages), kernels of 3 pixels, the same expansion, activation and squeeze
everywhere, and one linear layer as the classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch

STAGES = 3
"""Stages, each with twice as many channels as the one before, on maps half as high and wide."""


class MobileNetOptions(ImageOptions):
    """Its size."""

    width: Width = 16
    """Channels of the stem and the first stage; the other stages have 2 and 4 times as many."""
    layers: int = Field(default=2, ge=1, le=64)
    """Blocks of each stage."""
    expansion: int = Field(default=4, ge=1, le=16)
    """Channels inside a block, in units of the channels of its input."""


class MobileNet(Model[MobileNetOptions]):
    """The network with depthwise convolutions and squeeze-and-excitation."""

    def build(self, options: MobileNetOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, three stages of blocks, a 1x1 convolution, the mean over the image, a linear classifier."""
        channels, width, norm = image_channels("mobilenet", input_shape), options.width, options.norm
        from torch import nn

        from pruneaudit.models._blocks import ImageClassifier, conv1x1, conv3x3
        from pruneaudit.models._mobilenet import ConvNormHardswish, InvertedBottleneck

        features: list[nn.Module] = [ConvNormHardswish(conv3x3(channels, width, stride=2), norm)]
        for stage in range(STAGES):
            for block in range(options.layers):
                wider = width << stage
                narrower = wider // 2 if stage and not block else wider
                stride = 2 if narrower < wider else 1
                features.append(InvertedBottleneck(narrower, wider, options.expansion, stride, norm))
        last = options.expansion * wider
        features.append(ConvNormHardswish(conv1x1(wider, last), norm))
        return ImageClassifier(features, nn.Linear(last, num_classes))


MODEL = MobileNet()
