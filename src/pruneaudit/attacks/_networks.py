"""The networks of classifier attacks. They import torch, so they are themselves imported only where they are used."""

# B batch, C classes, F features

from __future__ import annotations

import torch
from torch import Tensor, nn


def posterior_mlp(num_features: int) -> nn.Sequential:
    """F-512-256-128-2 (arXiv 2202.03335): features (B, F) to the logits (B, 2) of non-member and member."""
    return nn.Sequential(
        *(nn.Linear(num_features, 512), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Linear(256, 128), nn.ReLU()),
        nn.Linear(128, 2),
    )


class AttentionNetwork(nn.Module):
    """SAMIA's network: every class is a token of three numbers, and tokens attend to one another (arXiv 2202.03335)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.norm = nn.BatchNorm1d(3 * num_classes)
        self.embed = nn.Sequential(nn.Linear(3, 64), nn.GELU())
        layers = [
            nn.TransformerEncoderLayer(64, 4, 128, dropout=0.2, activation="gelu", batch_first=True) for _ in range(3)
        ]
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(64 * num_classes, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        """[posteriors | sensitivity | one-hot label] (B, 3C) to the logits (B, 2) of non-member and member."""
        tokens = self.norm(x).reshape(-1, 3, self.num_classes).transpose(1, 2)  # (B, C, 3)
        encoded: Tensor = self.encoder(self.embed(tokens))  # (B, C, 64)
        logits: Tensor = self.head(torch.flatten(encoded, 1))
        return logits
