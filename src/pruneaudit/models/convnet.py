"""ConvNet: a plain network like VGG, three stages of two 3x3 convolutions with BatchNorm.

After Simonyan and Zisserman 2014 (arXiv:1409.1556), with BatchNorm, and the mean over the image in
place of the last max-pooling and the wide linear layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch


class ConvNetOptions(ImageOptions):
    """Its size."""

    width: Width = 32
    """Channels of the first stage; the others have 2 and 4 times as many."""


class ConvNet(Model[ConvNetOptions]):
    """The plain convolutional network."""

    def build(self, options: ConvNetOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Six convolutions with max-pooling after the second and the fourth, the mean, a linear classifier."""
        channels, width = image_channels("convnet", input_shape), options.width
        from torch import nn

        from pruneaudit.models._blocks import ConvNormReLU, ImageClassifier

        features: list[nn.Module] = []
        for stage in range(3):
            if stage:
                # Rounding up allows images of any size.
                features.append(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(2):
                features.append(ConvNormReLU(channels, width << stage, norm=options.norm))
                channels = width << stage
        return ImageClassifier(features, nn.Linear(channels, num_classes))


MODEL = ConvNet()
