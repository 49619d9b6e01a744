"""The networks of classifier attacks. Imports torch, so import this module only where it is used.

On a CPU, torch's dropout took a third of the training time. Here 16 random bits decide about each number, with
probability 13,107 / 65,536 instead of 0.2. This takes a tenth of that time.
"""

# B batch, C classes, F features, H heads, D numbers of a head

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 2**16
_WORDS = -(2**63)
"""The lowest 64-bit number: starting there, `random_` draws every bit."""
_NUMPY: dict[torch.dtype, type[np.floating]] = {torch.float32: np.float32, torch.float64: np.float64}


class Dropout(nn.Dropout):
    """Zeroes numbers with probability `p` in training, and scales the others up so that the mean stays the same."""

    generator: torch.Generator | None = None
    """The generator to draw from, on the inputs' device; None: torch's global one."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` after dropout, in its shape."""
        return dropped(x, self.p, self.generator) if self.training else x


def dropped(x: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """`x` with each number zeroed with probability p, to the nearest 1 / 65,536, and divided by 1 - p otherwise."""
    if x.is_cuda:
        return x * torch.empty_like(x).bernoulli_(1 - p, generator=generator).div_(1 - p)
    words = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64).random_(_WORDS, None, generator=generator)
    bits = words.numpy().view(np.int16)[: x.numel()]  # uniform in -32,768 to 32,767
    num_dropped = round(p * _LEVELS)
    kept = (bits >= num_dropped - _LEVELS // 2).astype(_NUMPY[x.dtype])  # five times as fast as in torch
    kept *= kept.dtype.type(_LEVELS / (_LEVELS - num_dropped))
    return x * torch.from_numpy(kept).view(x.shape)


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's encoder layer, post-norm, with `dropped` as its dropout and without token masks."""

    generator: torch.Generator | None = None
    """As in `Dropout`."""

    def forward(self, src: Tensor) -> Tensor:  # type: ignore[override]  # torch's also takes masks; here there are none
        """Tokens (B, C, 64) to tokens."""
        x: Tensor = self.norm1(src + self._dropped(self._attended(src)))
        hidden = self._dropped(functional.gelu(self.linear1(x)))
        encoded: Tensor = self.norm2(x + self._dropped(self.linear2(hidden)))
        return encoded

    def _attended(self, x: Tensor) -> Tensor:
        attention = self.self_attn
        projected = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)  # (B, C, 3 H D)
        query, key, value = projected.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, C, D)
        weights = torch.softmax(query / math.sqrt(attention.head_dim) @ key.mT, dim=-1)  # (B, H, C, C)
        mixed = (self._dropped(weights) @ value).transpose(1, 2).flatten(2)  # (B, C, H D)
        attended: Tensor = attention.out_proj(mixed)
        return attended

    def _dropped(self, x: Tensor) -> Tensor:
        return dropped(x, self.self_attn.dropout, self.generator) if self.training else x


def posterior_mlp(num_features: int) -> nn.Sequential:
    """F-512-256-128-2 (arXiv 2202.03335): features (B, F) to the logits (B, 2) of non-member and member."""
    return nn.Sequential(
        *(nn.Linear(num_features, 512), nn.ReLU(), Dropout(0.2)),
        *(nn.Linear(512, 256), nn.ReLU(), Dropout(0.2)),
        *(nn.Linear(256, 128), nn.ReLU()),
        nn.Linear(128, 2),
    )


class VotesAndLosses(nn.Module):
    """CompLeak's network for several releases: votes and losses each pass a part of their own (arXiv 2507.16872)."""

    def __init__(self, num_votes: int, num_losses: int) -> None:
        super().__init__()
        self.num_votes = num_votes
        self.of_votes, self.of_losses = _part(num_votes), _part(num_losses)
        self.head = nn.Sequential(
            *(Dropout(0.5), nn.Linear(128, 256), nn.ReLU()),
            *(Dropout(0.5), nn.Linear(256, 128), nn.ReLU()),
            *(Dropout(0.5), nn.Linear(128, 64), nn.ReLU()),
            *(Dropout(0.5), nn.Linear(64, 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[votes | losses] (B, F) to the logits (B, 2) of non-member and member."""
        votes, losses = x[:, : self.num_votes], x[:, self.num_votes :]
        logits: Tensor = self.head(torch.cat([self.of_votes(votes), self.of_losses(losses)], dim=1))
        return logits


def _part(num_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(num_features, 128), nn.ReLU(), Dropout(0.5), nn.Linear(128, 64))


def draw_weights_of_mia_prune(network: nn.Module) -> None:
    """Draws first weights as mia_prune's code does, from torch's global generator (or that of `PrivateDraws`).

    Linear layers: Xavier-normal weights, zero biases. Attention keeps torch's own weights, because that code selects
    by class name and the projections of `nn.MultiheadAttention` are not called `Linear`. Its encoder copies one layer,
    so all layers begin with the same weights. Norms begin as in torch.
    """
    for layer in network.modules():
        if type(layer) is nn.Linear:  # excludes attention's output projection, which has a derived class
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    attentions = [layer for layer in network.modules() if isinstance(layer, nn.MultiheadAttention)]
    for attention in attentions[1:]:
        attention.load_state_dict(attentions[0].state_dict())


class AttentionNetwork(nn.Module):
    """SAMIA's network: every class is a token of three numbers, and tokens attend to one another (arXiv 2202.03335)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.norm = nn.BatchNorm1d(3 * num_classes)
        self.embed = nn.Sequential(nn.Linear(3, 64), nn.GELU())
        layers = [EncoderLayer(64, 4, 128, dropout=0.2, activation="gelu", batch_first=True) for _ in range(3)]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(64 * num_classes, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        """[posteriors | sensitivity | one-hot label] (B, 3C) to the logits (B, 2) of non-member and member."""
        tokens = self.norm(x).reshape(-1, 3, self.num_classes).transpose(1, 2)  # (B, C, 3)
        encoded: Tensor = self.encoder(self.embed(tokens))  # (B, C, 64)
        logits: Tensor = self.head(torch.flatten(encoded, 1))
        return logits
