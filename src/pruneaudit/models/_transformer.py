"""A transformer encoder for texts: embeddings, pre-norm blocks, the mean over real tokens, a linear classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruneaudit.data.kinds import TokenShape
from pruneaudit.models._attention import EncoderBlock
from pruneaudit.models.init import Normal

# B batch, T tokens, D width of the network, C classes


class TextEncoder(nn.Module):
    """Texts to logits."""

    takes_any_length = True
    """Texts may be shorter than the positions: training leaves out columns that are padding for a whole batch."""

    def __init__(
        self, shape: TokenShape, num_classes: int, width: int, layers: int, heads: int, dropout: float, std: float
    ) -> None:
        """Makes the layers.

        Args:
            shape: (T,) and the vocabulary.
            num_classes: C.
            width: D, a multiple of `heads`; the hidden layer of a block has 2D units.
            layers: number of blocks.
            heads: attention heads of a block.
            dropout: probability that an output of the embedding or of a part of a block is zero in training.
            std: standard deviation of all initial weights.
        """
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary.size, width)
        self.positions = nn.Embedding(shape[0], width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, 2 * width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                layer.initial_values = {"weight": Normal(std)}  # type: ignore[assignment]

    def get_input_embeddings(self) -> nn.Module:
        """The layer that gets the token ids, by the name that Hugging Face's models give this method."""
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`input_ids` and `attention_mask` (B, T) to logits (B, C)."""
        # As many rows as texts: the gradients of single samples need them.
        places = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        x = self.dropout(self.embedding(input_ids) + self.positions(places))  # (B, T, D)
        real = attention_mask.bool()
        for block in self.blocks:
            x = block(x, real)
        kept = self.norm(x) * real[:, :, None]
        logits: Tensor = self.classifier(kept.sum(1) / real.sum(1, keepdim=True).clamp(min=1))
        return logits
