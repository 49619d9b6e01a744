"""ViT: a small vision transformer, with class token and learned positions, for small images.

Dosovitskiy et al. 2020 (arXiv:2010.11929): patches by a convolution, a class token, learned positions, pre-norm
encoder blocks, LayerNorm, and a linear classifier of the class token. Deviations: a size for small images (its Base
has width 768, 12 blocks and 12 heads), no dropout by default, no tanh layer before the classifier, and images whose
sides are not multiples of the patch are padded with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from pruneaudit.models.init import Initialisation
from pruneaudit.models.model import Dropout, Model, NetworkOptions, Width, image_channels

if TYPE_CHECKING:
    import torch

HIDDEN = 4
"""Hidden units of a block, in units of the width."""


class VitOptions(NetworkOptions):
    """Its size, and dropout."""

    init: Initialisation = "xavier_normal"
    """Distribution of the initial weights of convolutions and linear layers. The class token and positions are normal
    with standard deviation .02."""
    width: Width = 64
    """Numbers that describe each patch; a multiple of `heads`."""
    layers: int = Field(default=4, ge=1, le=64)
    """Number of encoder blocks."""
    heads: int = Field(default=4, ge=1, le=256)
    """Attention heads of each block."""
    patch: int = Field(default=4, ge=1, le=64)
    """Side of a patch in pixels."""
    dropout: Dropout = 0.0
    """Probability that an attention weight, or an output of attention or of the hidden layers, is zero in training."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> VitOptions:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; choose a width that is")
        return self


class Vit(Model[VitOptions]):
    """The vision transformer, with q, k, v and o as linear layers."""

    def build(self, options: VitOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Patches, class token and positions, encoder blocks, a linear classifier."""
        image_channels("vit", input_shape)
        from torch import nn

        from pruneaudit.models._attention import EncoderBlock
        from pruneaudit.models._vit import VisionTransformer

        width, hidden = options.width, HIDDEN * options.width
        blocks = [EncoderBlock(width, options.heads, hidden, options.dropout) for _ in range(options.layers)]
        return VisionTransformer(input_shape, options.patch, blocks, nn.Linear(width, num_classes))


MODEL = Vit()
