"""Wide ResNet of depth 6n + 4 for CIFAR: three stages of n pre-activation blocks, 16k-32k-64k channels.

Zagoruyko and Komodakis 2016 (arXiv:1605.07146), blocks of two 3x3 convolutions without dropout; WRN-28-10
by default. The Pruning_MIA system uses the same network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from pruneaudit.models.model import ImageOptions, Model, image_channels

if TYPE_CHECKING:
    import torch

STEM = 16
"""Channels before the first block."""


def _six_n_plus_four(depth: int) -> int:
    if depth % 6 != 4:
        raise ValueError(f"got {depth}, expected 6n + 4, such as 10, 16, 22, 28 or 40")
    return depth


class WideResNetOptions(ImageOptions):
    """Depth and width."""

    depth: Annotated[int, Field(ge=10, le=1204), AfterValidator(_six_n_plus_four)] = 28
    """6n + 4, of n blocks per stage."""
    width_factor: int = Field(default=10, ge=1, le=64)
    """k: the stages have 16k, 32k and 64k channels."""


class WideResNet(Model[WideResNetOptions]):
    """The wide residual network."""

    def build(self, options: WideResNetOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, three stages of blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("wideresnet", input_shape), STEM * options.width_factor
        from pruneaudit.models._residual import wide_resnet

        blocks = (options.depth - 4) // 6
        return wide_resnet(channels, STEM, (width, 2 * width, 4 * width), blocks, num_classes, options.norm)


MODEL = WideResNet()
