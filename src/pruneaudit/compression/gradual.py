"""Gradual magnitude pruning: removes the smallest weights step by step during fine-tuning.

Source: Zhu & Gupta 2017 (arXiv 1710.01878). Every `period_steps` steps the smallest of the remaining weights
become zero and stay zero; a cubic ramp from `begin` to `end` gives their number. Deviations from the paper: `begin`
and `end` are fractions of the fine-tuning; the period is 16 steps, not 100 or more, because fine-tunings here are
short; the first step at or after `end` also moves the mask, so that from there on the sparsity is exactly the requested
one; weights are ranked over all layers together unless `scope` says otherwise. Epochs before `end` are not at the
requested sparsity, and are never kept as the best on the dev set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import MaskOptions
from pruneaudit.compression.schedules import Ramp

if TYPE_CHECKING:
    from torch import nn


class Options(MaskOptions):
    """Settings of gradual pruning."""

    begin: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the fine-tuning after which removal begins."""
    end: float = Field(default=0.75, gt=0, le=1)
    """Fraction of the fine-tuning after which the requested sparsity is reached."""
    period_steps: int = Field(default=16, ge=1)
    """Steps between two moves of the mask."""

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Options:
        if self.begin >= self.end:
            raise ValueError(f"got begin = {self.begin:g} and end = {self.end:g}; expected begin below end")
        return self


class Gradual(Compressor[Options]):
    """Removes the smallest |w| in many small steps."""

    def works_in_training(self, options: Options) -> bool:
        """Weights are removed during training."""
        return True

    def is_done_by_training(self, options: Options) -> bool:
        """The mask moves during training."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Removes nothing yet: the hook does so in training; see `Compressor.compress`."""
        from pruneaudit.compression.moving_mask import GrowingMask
        from pruneaudit.compression.selection import prunable_weights

        ramp = Ramp(options.sparsity, options.begin, options.end, options.period_steps, freeze_at=options.end)
        pruning = Compressed(model)
        weights = prunable_weights(model, options.exclude, options.layers)
        pruning.hooks = (GrowingMask(pruning, weights, ramp, options.scope),)
        return pruning


COMPRESSOR = Gradual()
