"""ResNet-18 for small images: 3x3 stem of stride 1, no max-pooling, four stages of two blocks, 64-512 channels.

He et al. 2015 (arXiv:1512.03385), table 1, shortcut option B. Deviation: the stem for ImageNet (7x7 of
stride 2, then max-pooling) would leave 1x1 maps of a 32x32 image, so it is the CIFAR stem of section
4.2, as most CIFAR studies have it. 11.17 million parameters for 10 classes.

The network of mia_prune (arXiv:2202.03335) has this stem too, but keeps the max-pooling, and draws other
weights: `max_pool = true`, `init = "xavier_normal"`. Its maps are half as high and wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch


class ResNet18Options(ImageOptions):
    """Its size, and what follows the stem."""

    width: Width = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""
    max_pool: bool = False
    """Whether 3x3 max-pooling of stride 2 follows the stem."""


class ResNet18(Model[ResNet18Options]):
    """The large residual network."""

    Options = ResNet18Options

    def build(self, options: ResNet18Options, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, eight blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("resnet18", input_shape), options.width
        from pruneaudit.models._residual import BasicBlock, Blocks, resnet

        widths = (width, 2 * width, 4 * width, 8 * width)
        return resnet(channels, widths, Blocks(BasicBlock, 2, "B", options.norm), num_classes, options.max_pool)


MODEL = ResNet18()
