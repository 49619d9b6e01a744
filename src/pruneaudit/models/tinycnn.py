"""TinyCNN: three 3x3 convolutions of stride 2 with BatchNorm; trains in seconds on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch


class TinyCnnOptions(ImageOptions):
    """Its size."""

    width: Width = 16
    """Channels of the first convolution; the others have 2 and 4 times as many."""


class TinyCnn(Model[TinyCnnOptions]):
    """The smallest convolutional network here."""

    def build(self, options: TinyCnnOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Three convolutions, the mean over the image, a linear classifier."""
        channels, width = image_channels("tinycnn", input_shape), options.width
        from torch import nn

        from pruneaudit.models._blocks import ConvNormReLU, ImageClassifier

        features = [
            ConvNormReLU(channels, width, stride=2, norm=options.norm),
            ConvNormReLU(width, 2 * width, stride=2, norm=options.norm),
            ConvNormReLU(2 * width, 4 * width, stride=2, norm=options.norm),
        ]
        return ImageClassifier(features, nn.Linear(4 * width, num_classes))


MODEL = TinyCnn()
