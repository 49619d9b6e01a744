"""LAMP: magnitude pruning that weighs each weight against the larger ones of its layer, and ranks all layers together.

Source: Lee et al. 2021 (arXiv 2010.07611). The weights of a layer are sorted by |w|, equal ones in parameter order. The
score of a weight is w^2 divided by the sum of the squares of itself and of all larger ones. This bounds the squared
output error that its removal adds. Scores rise with |w| within a layer, and the largest weight of each layer scores 1,
so that no layer loses all its weights. The sums run from the largest weight down, in float64.

One-shot here; the paper prunes in rounds as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor
from pruneaudit.compression.mask_options import SparsityOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class Options(SparsityOptions):
    """Settings of LAMP."""


class Lamp(Compressor[Options]):
    """Removes the lowest LAMP scores of all weight matrices."""

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Zeroes the lowest scores and holds them there; see `Compressor.compress`."""
        from pruneaudit.compression.mask import held
        from pruneaudit.compression.selection import check_none_empty, keep_highest, prunable_weights

        weights = prunable_weights(model, options.exclude, options.layers)
        scores = {name: lamp_scores(weight) for name, weight in weights.items()}
        masks = keep_highest(scores, options.sparsity, "global")
        check_none_empty(masks, options.sparsity, "lamp")  # fewer weights than layers are left
        return held(model, masks)


def lamp_scores(weight: Tensor) -> Tensor:
    """The LAMP score of each weight of one layer, in [0, 1], float64, in the weight's shape.

    Args:
        weight: the weights of one layer, of any shape.
    """
    import torch

    squares = weight.detach().flatten().double().square()
    # Not of the squares: squares of tiny weights are equal. Of equal weights the last stands highest.
    order = weight.detach().flatten().abs().argsort(stable=True).flip(0)
    falling = squares[order]
    sums = falling.cumsum(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(falling > 0, falling / sums, 0.0)
    return scores.view(weight.shape)


COMPRESSOR = Lamp()
