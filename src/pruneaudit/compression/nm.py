"""N:M sparsity: of every M consecutive weights along the inputs, the N of largest magnitude stay.

Mishra et al. 2021 (arXiv 2104.08378) prune once to 2:4 and repeat the training with the mask held; so does the
fine-tuning here. A group runs along the input channels of one output channel, at one position of a convolution's
kernel, as kernels for sparse tensor cores expect. Layers whose number of inputs M does not divide stay dense, for
example a first convolution with 1 or 3 channels. The sparsity of the others is 1 - N / M.

With `sr_ste` (Zhou et al. 2021, arXiv 2102.04010) the mask moves with every step of the training that follows. Its
gradient, at the masked weights, updates dense weights, and those that are masked are pulled to zero: `decay` times
their value is added to their gradient. Deviation from the paper: the training starts from trained weights, unless the
release has new ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field, field_validator, model_validator

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import LayerOptions

if TYPE_CHECKING:
    from torch import nn

MOST = 64
"""Largest M."""
DECAY = 2e-4
"""The pull to zero of the paper on SR-STE."""


class Options(LayerOptions):
    """Settings of N:M sparsity."""

    pattern: str
    """N:M, such as 2:4: N of every M consecutive weights stay. Names of releases spell it 2x4."""
    sr_ste: bool = False
    """Let the mask move in the training that follows, by SR-STE."""
    decay: float = Field(default=DECAY, ge=0)
    """SR-STE's pull of masked weights to zero."""

    @field_validator("pattern", mode="before")
    @classmethod
    def _is_a_pattern(cls, pattern: object) -> str:
        match = re.fullmatch(r"\s*(\d{1,4})\s*[:x]\s*(\d{1,4})\s*", str(pattern))
        if not match or not 1 <= int(match[1]) < int(match[2]) <= MOST:
            raise ValueError(f"N:M with 1 <= N < M <= {MOST}, such as 2:4, 1:4 or 4:8")
        return f"{int(match[1])}:{int(match[2])}"

    @model_validator(mode="after")
    def _decay_belongs_to_sr_ste(self) -> Options:
        if self.decay != DECAY and not self.sr_ste:
            raise ValueError(f"got decay = {self.decay:g}, but only sr_ste = true uses it; leave it out")
        return self

    @property
    def numbers(self) -> tuple[int, int]:
        """N and M."""
        kept, _, group = self.pattern.partition(":")
        return int(kept), int(group)


class NM(Compressor[Options]):
    """Keeps the N largest |w| of every M along the inputs."""

    degree = "pattern"

    def works_in_training(self, options: Options) -> bool:
        """SR-STE does."""
        return options.sr_ste

    def is_done_by_training(self, options: Options) -> bool:
        """With SR-STE the mask moves during training."""
        return options.sr_ste

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes weights and holds them there, or lets the hook move the mask; see `Compressor.compress`."""
        from pruneaudit.compression.mask import Masks, held
        from pruneaudit.compression.patterns import SparseRefined, keep_of_groups, weights_in_groups
        from pruneaudit.compression.selection import magnitude, prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        grouped, notes = weights_in_groups(model, weights, options.numbers)
        described = {"kept_whole": list(notes)}
        dense = {name: weights[name].detach().clone() for name in grouped}
        scores = magnitude({name: weights[name] for name in grouped})
        masks = Masks({name: keep_of_groups(scores[name], axis, options.numbers) for name, axis in grouped.items()})
        made = held(model, masks)
        made.description = described
        if options.sr_ste:
            made.hooks = (SparseRefined(made, dense, grouped, options.numbers, options.decay),)
        return made


COMPRESSOR = NM()
