"""SNIP: prunes the initial weights by how much the loss of one batch would change without each of them.

Source: Lee et al. 2019 (arXiv 1810.02340). The score of a weight is |g w|, g the gradient of the mean cross-entropy of
one batch at the initial weights: the absolute value is taken after the sum over the batch. The weights with the highest
scores are then trained from their initial values.

Labels are used. Samples are public unless `data = members`, which is what the paper does: its batch comes from the
training set, so that the mask itself depends on members.

Scores are computed in evaluation mode, so that they leave running statistics alone and no sample's gradient depends on
the others in the batch. At the initial weights the running statistics are 0 and 1, so BatchNorm only scales and shifts.

Deviations from the authors' code: biases are not pruned; the weights that are trained are those that were scored, not
newly drawn ones, and their initialisation is the network's own, where the paper asks for one that scales variances;
BatchNorm in evaluation mode. Above a sparsity of about 99% the method can remove whole layers (arXiv 2006.05467):
that is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.calibrated import CalibratedCompressor
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask_options import CalibrationOptions, MaskOptions
from pruneaudit.core.errors import UserError
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.training.samples import Samples

_SAMPLES_AT_ONCE = 128


class Options(MaskOptions, CalibrationOptions):
    """Settings of SNIP."""

    num_samples: int = Field(default=128, ge=1)
    """Size of the batch, at most half of the available samples."""
    start: Literal["init", "pretrained"] = "init"
    """Weights that are scored and kept: the initial ones, or the dense model's."""


class Snip(CalibratedCompressor[Options]):
    """Removes the weights to which the loss of one batch is least sensitive."""

    def needs_labels(self, options: Options) -> bool:
        """True: the loss needs them."""
        return True

    def origin(self, options: Options) -> Origin:
        """`init` unless it scores dense weights."""
        return "init" if options.start == "init" else "own-dense"

    def works_in_training(self, options: Options) -> bool:
        """True from initial weights: untrained weights are not a release."""
        return bool(options.start == "init")

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the lowest scores and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import check_none_empty, keep_highest, prunable_weights

        assert context.samples is not None
        if options.start == "init":
            context.restart(model)
        weights = prunable_weights(model, options.exclude, options.layers)
        masks = keep_highest(sensitivities(model, weights, context.samples), options.sparsity, options.scope)
        check_none_empty(masks, options.sparsity, "snip")
        return held(model, masks)


def sensitivities(model: nn.Module, weights: Mapping[str, Tensor], samples: Samples) -> dict[str, Tensor]:
    """|g w| of each weight, in the weights' shapes; g is the gradient of the mean cross-entropy of the samples.

    Args:
        model: the network, on the samples' device; nothing in it changes.
        weights: its parameters to score, by name.
        samples: the batch, with labels.

    Raises:
        UserError: there are no samples, or the loss has no finite gradient.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from pruneaudit.compression.macs import evaluating
    from pruneaudit.data.inputs import answered

    if not len(samples):
        raise UserError("'snip' scores weights by samples, but there are none; expected at least 1")
    parameters = list(weights.values())
    sums = [torch.zeros_like(weight) for weight in parameters]
    with evaluating(model), torch.enable_grad():
        for positions in torch.arange(len(samples)).split(_SAMPLES_AT_ONCE):
            x, y = samples.batch(positions)  # (B, ...), (B,)
            loss = cross_entropy(answered(model, x), y, reduction="sum") / len(samples)
            for total, gradient in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    total += gradient
    wrong = next((name for name, total in zip(weights, sums, strict=True) if not total.isfinite().all()), None)
    if wrong is not None:
        raise UserError(
            f"'snip': the loss of {len(samples)} samples has no finite gradient at '{wrong}'; use another method, such"
            " as lamp"
        )
    return {name: (total * weights[name].detach()).abs() for name, total in zip(weights, sums, strict=True)}


COMPRESSOR = Snip()
