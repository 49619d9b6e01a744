"""DenseNet-121 for small images: four blocks of 6, 12, 24 and 16 layers; each layer adds 32 channels.

Huang et al. 2016 (arXiv:1608.06993), table 1, in the version of mia_prune (arXiv:2202.03335): the stem is a 3x3
convolution of stride 1 instead of 7x7 of stride 2, the max-pooling after it stays, weights are
Xavier-normal. Deviation: pooling rounds sizes up, so that images of any size work; for images whose sides are
multiples of 16 there is no difference. 6.96 million parameters for 10 classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.models.init import Initialisation
from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch


class DenseNet121Options(ImageOptions):
    """Its size."""

    init: Initialisation = "xavier_normal"
    """Distribution of the initial weights."""
    growth: Width = 32
    """Channels that each layer adds; the stem has twice as many."""


class DenseNet121(Model[DenseNet121Options]):
    """The densely connected network."""

    def build(self, options: DenseNet121Options, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Stem, four blocks with three transitions, the mean over the image, a linear classifier."""
        channels = image_channels("densenet121", input_shape)
        from pruneaudit.models._dense import densenet

        return densenet(channels, options.growth, (6, 12, 24, 16), num_classes, options.norm)


MODEL = DenseNet121()
