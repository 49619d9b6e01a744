"""DPF, dynamic model pruning with feedback: removed weights keep learning, and can come back.

Source: Lin et al., ICLR 2020 (arXiv 2006.07253). Dense weights w are kept in addition to the mask m. Each step takes
the gradient at m*w and applies it, unmasked, to w; momentum and weight decay act on w. Every `period_steps` steps m is
recomputed from |w|, at a sparsity that rises along a cubic ramp. The network that is evaluated and released is m*w.

Deviations from the paper, and choices that it leaves open:
- the first step at or after the ramp's end moves the mask too, if it is no multiple of the period: from there on the
  sparsity is exactly the requested one, even in a training shorter than one period;
- from `freeze_at` on the mask no longer moves and gradients of removed weights are masked. No removed weight
  can come back then, so that the released m*w is what training with a held mask gives;
- epochs before the ramp's end are not at the requested sparsity, and are never kept as the best on the dev set.

Preset `pruning_mia` does what the Pruning_MIA code does. From initial weights, one threshold over all convolutions
(linear and normalisation layers stay dense), period 16, a ramp that rises once per epoch and ends at
epoch 75 of 200, a frozen mask from epoch 180 of 200.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import MaskOptions
from pruneaudit.compression.schedules import Ramp
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import nn


class Options(MaskOptions):
    """Settings of DPF."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "pruning_mia": {
            "start": "init",
            "scope": "global",
            "layers": "convolutions",
            "exclude": (),
            "period_steps": 16,
            "ramp_end": 0.375,
            "ramp_by": "epoch",
            "freeze_at": 0.9,
        }
    }

    start: Literal["init", "pretrained"] = "init"
    """Train from the initial weights, or continue from the dense model's."""
    period_steps: int = Field(default=16, ge=1)
    """Steps between two moves of the mask."""
    ramp_end: float = Field(default=0.375, gt=0, le=1)
    """Fraction of the training after which the requested sparsity is reached."""
    ramp_by: Literal["step", "epoch"] = "step"
    """Whether the sparsity rises at every move of the mask, or only at the beginning of epochs."""
    freeze_at: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the training after which the mask no longer moves; 1: it moves to the end."""
    preset: Literal["none", "pruning_mia"] = "none"
    """The settings of a published system."""

    @model_validator(mode="after")
    def _ramp_ends_before_the_freeze(self) -> Options:
        if self.ramp_end > self.freeze_at:
            raise ValueError(
                f"got ramp_end = {self.ramp_end:g} after freeze_at = {self.freeze_at:g}; the mask must reach its "
                "sparsity before it stops moving: lower ramp_end, or raise freeze_at"
            )
        return self


class Dpf(Compressor[Options]):
    """Trains dense weights with the gradients of the masked network."""

    def origin(self, options: Options) -> Origin:
        """`init` unless it continues from dense weights."""
        return "init" if options.start == "init" else "own-dense"

    def works_in_training(self, options: Options) -> bool:
        """The mask is built during training."""
        return True

    def is_done_by_training(self, options: Options) -> bool:
        """The mask moves during training."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Removes nothing yet: the hook does so in training; see `Compressor.compress`."""
        from pruneaudit.compression.moving_mask import DenseFeedback
        from pruneaudit.compression.selection import prunable_weights

        if options.start == "init":
            context.restart(model)
        ramp = Ramp(
            options.sparsity,
            end=options.ramp_end,
            period_steps=options.period_steps,
            freeze_at=options.freeze_at,
            by_epoch=options.ramp_by == "epoch",
        )
        pruning = Compressed(model)
        weights = prunable_weights(model, options.exclude, options.layers)
        pruning.hooks = (DenseFeedback(pruning, weights, ramp, options.scope),)
        return pruning


COMPRESSOR = Dpf()
