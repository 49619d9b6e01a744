"""Training data in memory, as one tensor (texts: with their lengths), and the order in which training visits them.

Images are stored with the channel last, so that a gathered batch already has the memory format in which
convolutions are fastest.
"""

# n samples of one model, B batch, C channels, H height, W width, F features, T tokens

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.augment import normalise, sent
from pruneaudit.data.inputs import Inputs, token_inputs
from pruneaudit.data.kinds import Kind, Vocabulary


@dataclass(frozen=True)
class Samples:
    """Normalised inputs and labels on one device."""

    stored: Tensor  # (n, H, W, C) images or (n, F) tables, float32; or (n, T) token ids, int32
    y: Tensor  # (n,) int64
    lengths: Tensor | None = None  # (n,) int32, of texts
    vocabulary: Vocabulary | None = None  # of texts

    @classmethod
    def of(cls, audit_data: AuditData, chosen: np.ndarray, device: str = "cpu") -> Samples:
        """The samples of `audit_data` where `chosen` (N,) bool is true."""
        y = torch.from_numpy(np.array(audit_data.y[chosen])).to(device)
        if audit_data.lengths is not None:
            ids, lengths = (torch.from_numpy(np.array(of[chosen])) for of in (audit_data.x, audit_data.lengths))
            return cls(ids.to(device), y, lengths.to(device), audit_data.vocabulary)
        x = normalise(torch.from_numpy(np.array(audit_data.x[chosen])).to(device), audit_data.mean, audit_data.std)
        stored = x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x.contiguous()
        return cls(stored, y)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def kind(self) -> Kind:
        """Whether the samples are images, rows of a table, or texts."""
        if self.lengths is not None:
            return "tokens"
        return "image" if self.stored.ndim == 4 else "table"

    def chosen(self, positions: Tensor | slice) -> Samples:
        """The samples at `positions`."""
        lengths = None if self.lengths is None else self.lengths[positions]
        return replace(self, stored=self.stored[positions], y=self.y[positions], lengths=lengths)

    def inputs(self, positions: Tensor | slice) -> Inputs:
        """Inputs at `positions`: (B, C, H, W) in channels-last memory format, (B, F), or those of texts."""
        if self.lengths is not None:
            return token_inputs(self.stored[positions], self.lengths[positions])
        batch = self.stored[positions]
        return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch

    def batch(self, positions: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs, as `inputs` returns them, and labels (B,) at positions (B,) on the CPU."""
        there = sent(positions, self.y.device)
        return self.inputs(there), self.y[there]


@dataclass(frozen=True)
class Shuffled:
    """Every sample once per epoch, in random order.

    BatchNorm cannot train on a single sample, so a last batch of one sample joins the batch before it.
    """

    num_samples: int
    batch_size: int

    @property
    def num_batches(self) -> int:
        """Steps in one epoch."""
        whole, rest = divmod(self.num_samples, self.batch_size)
        return max(1, whole + (rest > 1))

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The batches of one epoch, each as positions (B,)."""
        order = torch.randperm(self.num_samples, generator=generator)
        last = (self.num_batches - 1) * self.batch_size
        yield from order[:last].split(self.batch_size) if last else ()
        yield order[last:]
