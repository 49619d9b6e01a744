"""VGG-16 with BatchNorm for small images: thirteen 3x3 convolutions, 64-512 channels, and three linear layers.

Simonyan and Zisserman 2014 (arXiv:1409.1556), configuration D with BatchNorm, in the version of mia_prune
(arXiv:2202.03335): the maps are averaged to 1x1 instead of 7x7, so the first linear layer has 512 inputs; dropout 0.5
in the classifier, convolutions with biases, weights Xavier-normal. Deviation: pooling rounds sizes up, so that images
of any size work; for images whose sides are multiples of 32 there is no difference. 33.65 million parameters for 10
classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.init import Initialisation
from pruneaudit.models.model import Dropout, ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch

STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
"""Convolutions of each stage, and their channels in units of the width."""


class Vgg16Options(ImageOptions):
    """Its size, and dropout."""

    init: Initialisation = "xavier_normal"
    """Distribution of the initial weights."""
    width: Width = 64
    """Channels of the first stage; the others have 2, 4, 8 and 8 times as many."""
    hidden: Width = 4096
    """Units of each of the two hidden linear layers."""
    dropout: Dropout = 0.5
    """Probability that a hidden unit is zero in training."""


class Vgg16(Model[Vgg16Options]):
    """The plain network with wide linear layers."""

    def build(self, options: Vgg16Options, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Five stages that end in max-pooling, the mean over the image, three linear layers."""
        channels = image_channels("vgg16", input_shape)
        from torch import nn

        from pruneaudit.models._blocks import ConvNormReLU, ImageClassifier

        features: list[nn.Module] = []
        for num_convolutions, factor in STAGES:
            for _ in range(num_convolutions):
                features.append(ConvNormReLU(channels, factor * options.width, norm=options.norm, bias=True))
                channels = factor * options.width
            features.append(nn.MaxPool2d(2, ceil_mode=True))
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Linear(channels, options.hidden), nn.ReLU(), nn.Dropout(options.dropout)]
            channels = options.hidden
        return ImageClassifier(features, nn.Sequential(*layers, nn.Linear(channels, num_classes)))


MODEL = Vgg16()
