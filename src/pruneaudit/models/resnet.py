"""ResNet of depth 6n + 2 for CIFAR: 20, 32, 44, 56, 110 and others; three stages of n blocks.

He et al. 2015 (arXiv:1512.03385), section 4.2. As it is, it is theirs: two convolutions per block, shortcut
option A. Depth 20 gives the same network, and from the same generator the same weights, as `resnet20`.

The Pruning_MIA system takes option B, and from depth 44 on bottleneck blocks (as many as there would be basic
blocks, so that its "44" has 65 layers): `shortcut = "B"`, `block = "bottleneck"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pruneaudit.models.model import ImageOptions, Model, Width, image_channels

if TYPE_CHECKING:
    import torch


def _six_n_plus_two(depth: int) -> int:
    if depth % 6 != 2:
        raise ValueError(f"got {depth}, expected 6n + 2, such as 20, 32, 44, 56 or 110")
    return depth


class ResNetOptions(ImageOptions):
    """Depth, width and kind of blocks."""

    depth: Annotated[int, Field(ge=8, le=1202), AfterValidator(_six_n_plus_two)] = 20
    """6n + 2, of n blocks per stage."""
    width: Width = 16
    """Channels of the first stage; the others have 2 and 4 times as many."""
    shortcut: Literal["A", "B"] = "A"
    """Where the shape changes: zeros in the place of new channels (A), or a 1x1 convolution (B)."""
    block: Literal["basic", "bottleneck"] = "basic"
    """Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times as many channels outside; the latter needs B."""

    @model_validator(mode="after")
    def _bottlenecks_project(self) -> ResNetOptions:
        if self.block == "bottleneck" and self.shortcut == "A":
            raise ValueError("block 'bottleneck' widens the first stage too, which shortcut 'A' cannot; use shortcut B")
        return self


class ResNet(Model[ResNetOptions]):
    """The residual network of any depth."""

    Options = ResNetOptions

    def build(self, options: ResNetOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, three stages of blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("resnet", input_shape), options.width
        from pruneaudit.models._residual import BasicBlock, Blocks, Bottleneck, resnet

        kind = BasicBlock if options.block == "basic" else Bottleneck
        blocks = Blocks(kind, (options.depth - 2) // 6, options.shortcut, options.norm)
        return resnet(channels, (width, 2 * width, 4 * width), blocks, num_classes)


MODEL = ResNet()
