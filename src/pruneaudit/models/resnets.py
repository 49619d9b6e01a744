"""Residual networks for small images (He et al. 2015, arXiv:1512.03385): any depth 6n + 2, ResNet-20, ResNet-18."""

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
    """Shortcuts where the shape changes: zeros as new channels (A), or a 1x1 convolution (B)."""
    block: Literal["basic", "bottleneck"] = "basic"
    """`basic`: two 3x3 convolutions; `bottleneck`: 1x1, 3x3 and 1x1, with four times as many channels outside, and
    shortcut B."""

    @model_validator(mode="after")
    def _bottlenecks_project(self) -> ResNetOptions:
        if self.block == "bottleneck" and self.shortcut == "A":
            raise ValueError(
                "block 'bottleneck' widens the first stage too, but shortcut 'A' cannot widen it; use shortcut B"
            )
        return self


class ResNet(Model[ResNetOptions]):
    """ResNet of depth 6n + 2 for CIFAR: 20, 32, 44, 56, 110 and others; three stages of n blocks.

    He et al. 2015 (arXiv:1512.03385), section 4.2. The defaults are theirs: two convolutions per block, shortcut
    option A. Depth 20 gives the same network, and from the same generator the same weights, as `resnet20`.

    The Pruning_MIA system uses option B, and from depth 44 on bottleneck blocks (as many as the basic blocks that they
    replace, so that its "44" has 65 layers): `shortcut = "B"`, `block = "bottleneck"`.
    """

    def build(self, options: ResNetOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, three stages of blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("resnet", input_shape), options.width
        from pruneaudit.models._residual import BasicBlock, Blocks, Bottleneck, resnet

        kind = BasicBlock if options.block == "basic" else Bottleneck
        blocks = Blocks(kind, (options.depth - 2) // 6, options.shortcut, options.norm)
        return resnet(channels, (width, 2 * width, 4 * width), blocks, num_classes)


class ResNet20(Model[ImageOptions]):
    """ResNet-20 for CIFAR: three stages of three blocks, 16-32-64 channels, shortcuts without parameters.

    He et al. 2015 (arXiv:1512.03385), section 4.2, shortcut option A: 0.27 million parameters. `resnet` has
    other depths and shortcuts.
    """

    def build(self, options: ImageOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, nine blocks, the mean over the image, a linear classifier."""
        channels = image_channels("resnet20", input_shape)
        from pruneaudit.models._residual import BasicBlock, Blocks, resnet

        return resnet(channels, (16, 32, 64), Blocks(BasicBlock, 3, "A", options.norm), num_classes)


class ResNet18Options(ImageOptions):
    """Its size, and pooling after the stem."""

    width: Width = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""
    max_pool: bool = False
    """Whether 3x3 max-pooling of stride 2 follows the stem."""


class ResNet18(Model[ResNet18Options]):
    """ResNet-18 for small images: 3x3 stem of stride 1, no max-pooling, four stages of two blocks, 64-512 channels.

    He et al. 2015 (arXiv:1512.03385), table 1, shortcut option B. Deviation: the stem for ImageNet (7x7 of
    stride 2, then max-pooling) would reduce a 32x32 image to 1x1 maps, so this uses the CIFAR stem of section
    4.2, like most CIFAR studies. 11.17 million parameters for 10 classes.

    The network of mia_prune (arXiv:2202.03335) has this stem too, but keeps the max-pooling, and initialises
    differently: `max_pool = true`, `init = "xavier_normal"`. Its maps are half as high and wide.
    """

    def build(self, options: ResNet18Options, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """3x3 stem, eight blocks, the mean over the image, a linear classifier."""
        channels, width = image_channels("resnet18", input_shape), options.width
        from pruneaudit.models._residual import BasicBlock, Blocks, resnet

        widths = (width, 2 * width, 4 * width, 8 * width)
        return resnet(channels, widths, Blocks(BasicBlock, 2, "B", options.norm), num_classes, options.max_pool)


MODEL = {"resnet": ResNet(), "resnet20": ResNet20(), "resnet18": ResNet18()}
