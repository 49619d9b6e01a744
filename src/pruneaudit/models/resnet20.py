"""ResNet-20 for CIFAR: three stages of three blocks, 16-32-64 channels, shortcuts without parameters.

He et al. 2015 (arXiv:1512.03385), section 4.2, shortcut option A: 0.27 million parameters. `resnet` has
the other depths, and other shortcuts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.model import ImageOptions, Model, image_channels

if TYPE_CHECKING:
    import torch


class ResNet20(Model[ImageOptions]):
    """The small residual network."""

    Options = ImageOptions

    def build(self, options: ImageOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, nine blocks, the mean over the image, a linear classifier."""
        channels = image_channels("resnet20", input_shape)
        from pruneaudit.models._residual import BasicBlock, Blocks, resnet

        return resnet(channels, (16, 32, 64), Blocks(BasicBlock, 3, "A", options.norm), num_classes)


MODEL = ResNet20()
