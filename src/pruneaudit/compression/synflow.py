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

    def needs_example(self, options: Options) -> bool:
        """True: its input of ones has the shape of one."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the lowest scores and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.mask import held

        if options.start == "init":
            context.restart(model)
        return held(model, _kept(model, options, context.example))


def _kept(model: nn.Module, options: Options, example: Tensor) -> dict[str, Tensor]:
    """Which weights stay, as bool by parameter name.

    Raises:
        UserError: a layer loses all its weights, or the network gives no usable scores.
    """
    import torch

    from pruneaudit.compression.parametrized import copied
    from pruneaudit.compression.selection import check_none_empty, prunable_weights, select_highest

    positive = copied(model).double().eval()
    with torch.no_grad():
        for tensor in (*positive.parameters(), *positive.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
    weights = prunable_weights(positive, options.exclude, options.layers)
    whole = {name: weight.detach().clone() for name, weight in weights.items()}
    kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in whole.items()}
    ones = torch.ones_like(example, dtype=torch.float64)
    for finished in range(1, options.rounds + 1):
        scores = _scores(positive, weights, ones)
        sparsity = options.sparsity
        if finished < options.rounds:
            sparsity = 1 - density_after_round(options.sparsity, finished, options.rounds)
        kept = select_highest(
            {name: score.masked_fill(~kept[name], -1.0) for name, score in scores.items()}, sparsity, "global"
        )
        check_none_empty(kept, options.sparsity, "synflow")
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(whole[name] * kept[name])
    return kept


def _scores(positive: nn.Module, weights: dict[str, Tensor], ones: Tensor) -> dict[str, Tensor]:
    """Scores w dR/dw of the weights of a network without negative numbers, R the sum of its outputs."""
    import torch

    try:
        total = positive(ones).sum()
        slopes = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
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
    # A layer that the outputs do not depend on scores 0.
    pairs = zip(weights.items(), slopes, strict=True)
    return {name: (w * slope if slope is not None else torch.zeros_like(w)).detach() for (name, w), slope in pairs}


COMPRESSOR = SynFlow()
