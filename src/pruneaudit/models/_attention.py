"""Blocks of transformers: self-attention with separate projections, and a pre-norm encoder block.

Vaswani et al. 2017 (arXiv:1706.03762), normalised before each part as in Xiong et al. 2020 (arXiv:2002.04745). The
projections q, k, v and o are separate linear layers, so that methods for linear layers find each of them. The number of
heads follows from the width of q, so removing whole heads changes no attribute.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

# B batch, T positions, D width of the network, H heads, W width of a head, U hidden units


class SelfAttention(nn.Module):
    """Attention of each position to all positions that are no padding."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """Makes the four projections.

        Args:
            width: D, a multiple of `heads`.
            heads: H.
            dropout: probability that an attention weight is zero in training.
        """
        super().__init__()
        self.head_width = width // heads
        self.dropout = dropout
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.o = nn.Linear(width, width)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """(B, T, D) to the same shape; `real`, bool (B, T), is true where a position is no padding."""
        shape = (-1, self.head_width)  # as many heads as q, k and v still have
        q, k, v = (layer(x).unflatten(2, shape).transpose(1, 2) for layer in (self.q, self.k, self.v))  # (B, H, T, W)
        mask = None if real is None else real[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)  # (B, H, T, W)
        result: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return result


class EncoderBlock(nn.Module):
    """Self-attention and two linear layers with GELU between them, each after LayerNorm and added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        """Makes the layers.

        Args:
            width: D, a multiple of `heads`.
            heads: H.
            hidden: U.
            dropout: probability that an attention weight, or an output of either part, is zero in training.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """(B, T, D) to the same shape; `real`, bool (B, T), is true where a position is no padding."""
        x = x + self.dropout(self.attention(self.norm1(x), real))
        hidden = functional.gelu(self.fc1(self.norm2(x)))  # (B, T, U)
        result: Tensor = x + self.dropout(self.fc2(hidden))
        return result
