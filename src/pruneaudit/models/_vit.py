"""The vision transformer: patches as a sequence, a class token, learned positions, encoder blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pruneaudit.models._attention import EncoderBlock
from pruneaudit.models._blocks import padded
from pruneaudit.models.init import EMBEDDING

# B batch, C channels, H height, W width, D width of the network, P patches, T = P + 1 positions


class Prefixed(nn.Module):
    """Puts a learned class token before a sequence, and adds a learned vector to each position."""

    def __init__(self, num_patches: int, width: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, num_patches + 1, width))
        self.initial_values = {"class_token": EMBEDDING, "positions": EMBEDDING}

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, D) to (B, P + 1, D)."""
        token = self.class_token.expand(x.shape[0], -1, -1)
        return torch.cat([token, x], dim=1) + self.positions


class VisionTransformer(nn.Module):
    """Encoder blocks over patches, and a classifier of the class token."""

    def __init__(self, image: tuple[int, ...], patch: int, blocks: list[EncoderBlock], head: nn.Linear) -> None:
        """Puts the network together.

        Args:
            image: channels, height and width of an image.
            patch: side of a patch in pixels; images are padded with zeros to whole patches.
            blocks: the encoder, of width D.
            head: the classifier, of D inputs.
        """
        super().__init__()
        (channels, *sides), width = image, head.in_features
        self.patch = patch
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.prefix = Prefixed(math.prod(math.ceil(side / patch) for side in sides), width)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        patches = self.embed(padded(x, self.patch)).flatten(2).transpose(1, 2)  # (B, P, D)
        x = self.norm(self.blocks(self.prefix(patches)))  # (B, T, D)
        logits: Tensor = self.head(x[:, 0])
        return logits
