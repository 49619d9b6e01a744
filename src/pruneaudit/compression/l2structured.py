"""Filter pruning by L2 norm: whole channels go, and the network becomes smaller and faster.

As `l1structured` (Li et al. 2017, arXiv 1608.08710), with the Euclidean norm of each filter in place of
the sum of |w|.
Sparsity is by default the fraction of weights that is gone, as in every other method, and not the
fraction of channels: half of the channels are about three quarters of the weights. Layers that are
added to each other lose the same channels, by the mean of their relative norms.

Preset `mia_prune` (arXiv 2202.03335): int(channels x sparsity) filters of each Conv2d are masked
together with their biases. BatchNorm is not masked, so a pruned channel still gives a constant, linear
layers stay whole, and nothing is removed.
"""

from __future__ import annotations

from pruneaudit.compression._filter_norm import FilterNorm


class L2Structured(FilterNorm):
    """Removes the filters of the lowest L2 norm."""

    norm = 2


PRUNER = L2Structured()
