"""ResNet-18 for small images: 3x3 stem of stride 1, no max-pooling, four stages of two blocks, 64-512 channels.

He et al. 2015 (arXiv:1512.03385), table 1, shortcut option B. Deviation: the stem for ImageNet (7x7 of
stride 2, then max-pooling) would leave 1x1 maps of a 32x32 image, so it is the CIFAR stem of section
4.2, as most CIFAR studies have it. 11.17 million parameters for 10 classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.model import Model, Width, image_channels
from pruneaudit.options import Options

if TYPE_CHECKING:
    import torch


class ResNet18Options(Options):
    """Its size."""

    width: Width = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""


class ResNet18(Model[ResNet18Options]):
    """The large residual network."""

    Options = ResNet18Options

    def build(self, options: ResNet18Options, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, eight blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("resnet18", input_shape), options.width
        from pruneaudit.models._blocks import resnet

        widths = (width, 2 * width, 4 * width, 8 * width)
        return resnet(channels, widths, blocks_per_stage=2, shortcut="B", num_classes=num_classes)


MODEL = ResNet18()
