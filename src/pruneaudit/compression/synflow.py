"""SynFlow: prunes the initial weights without data, in many rounds, by how much each one carries through the network.

Source: Tanaka et al. 2020 (arXiv 2006.05467). With all parameters replaced by their absolute values and an input of
ones, R is the sum of the network's outputs, and the score of a weight is w dR/dw. The fraction d^(k / rounds) of the
weights is left after round k, d = 1 - sparsity; scores are computed anew in each round, under the mask so far. The
remaining weights are then trained from their initial values.

Buffers take their absolute values as well, as in the authors' code; normalisation uses running statistics. All of it
happens in float64 on a copy: R overflows float32 in deep networks, and the network itself does not change by a bit.

Deviations: 100 rounds, as in the paper (the authors' code does 1 unless asked); removed weights stay removed, even next
to remaining weights that score 0; a layer that loses all its weights is refused by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import SparsityOptions
from pruneaudit.compression.schedules import density_after_round
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(SparsityOptions):
    """Settings of SynFlow."""

    rounds: int = Field(default=100, ge=1, le=10_000)
    """Number of rounds of scoring and removal."""
    start: Literal["init", "pretrained"] = "init"
    """Weights that are scored and kept: the initial ones, or the dense model's."""


class SynFlow(Compressor[Options]):
    """Removes the weights that carry least from the inputs to the outputs."""

    def origin(self, options: Options) -> Origin:
        """`init` unless it scores dense weights."""
        return "init" if options.start == "init" else "own-dense"

    def works_in_training(self, options: Options) -> bool:
        """True from initial weights: untrained weights are not a release."""
        return bool(options.start == "init")

    def chooses_blindly(self, options: Options) -> bool:
        """True from initial weights."""
        return bool(options.start == "init")

    def needs_example(self, options: Options) -> bool:
        """True: its input of ones has the shape of one."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the lowest scores and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.mask import held
        from pruneaudit.data.inputs import tensor_of

        if options.start == "init":
            context.restart(model)
        return held(model, _kept(model, options, tensor_of(context.example, "compressor 'synflow'")))


def _kept(model: nn.Module, options: Options, example: Tensor) -> dict[str, Tensor]:
    """Which weights stay, as bool by parameter name.

    Raises:
        UserError: a layer loses all its weights, or the network gives no usable scores.
    """
    import torch

    from pruneaudit.compression.parametrized import copied
    from pruneaudit.compression.selection import check_none_empty, num_removed, prunable_weights, select_counts

    positive = copied(model).double().eval()
    with torch.no_grad():
        for tensor in (*positive.parameters(), *positive.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
    weights = prunable_weights(positive, options.exclude, options.layers)
    shapes = {name: weight.shape for name, weight in weights.items()}
    flat = torch.cat([weight.detach().flatten() for weight in weights.values()])  # all weights, in parameter order
    sizes = [weight.numel() for weight in weights.values()]
    for weight, part in zip(weights.values(), flat.split(sizes), strict=True):
        weight.data = part.view(weight.shape)
    ones = torch.ones_like(example, dtype=torch.float64)
    left = torch.arange(len(flat), device=flat.device)
    for finished in range(1, options.rounds + 1):
        scores = flat[left] * _slopes(positive, list(weights.values()), ones)[left]
        sparsity = options.sparsity
        if finished < options.rounds:
            sparsity = 1 - density_after_round(options.sparsity, finished, options.rounds)
        num_dropped = num_removed(len(flat), sparsity) - (len(flat) - len(left))
        stays = select_counts({"": scores}, {"": num_dropped})[""]
        flat[left[~stays]] = 0
        left = left[stays]
        kept = torch.zeros_like(flat, dtype=torch.bool)
        kept[left] = True
        masks = dict(zip(shapes, kept.split(sizes), strict=True))
        check_none_empty(masks, options.sparsity, "synflow")
    return {name: mask.view(shapes[name]) for name, mask in masks.items()}


def _slopes(positive: nn.Module, weights: list[Tensor], ones: Tensor) -> Tensor:
    """The slopes dR/dw, one after the other, of a network without negative numbers; R is the sum of its outputs."""
    import torch

    try:
        total = positive(ones).sum()
        slopes = torch.autograd.grad(total, weights, allow_unused=True)
    except Exception as error:  # a user's network can raise anything
        raise UserError(
            f"'synflow' asks the network in float64, with an input of ones of shape {tuple(ones.shape)}, and it failed"
            f" ({in_one_line(error)}); use another method, such as l1unstructured"
        ) from error
    if not 0 < (found := float(total.detach())) < math.inf:
        raise UserError(
            f"'synflow': the outputs of the network with absolute weights sum up to {found:g}, expected a positive"
            " finite number; use another method, such as l1unstructured"
        )
    # The outputs do not depend on some layers, whose weights score 0.
    return torch.cat(
        [
            torch.zeros(weight.numel(), dtype=weight.dtype, device=weight.device) if slope is None else slope.flatten()
            for weight, slope in zip(weights, slopes, strict=True)
        ]
    )


COMPRESSOR = SynFlow()
