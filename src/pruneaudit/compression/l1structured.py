"""Filter pruning by L1 norm: whole channels go, and the network becomes smaller and faster.

Source: Li et al. 2017 (arXiv 1608.08710), in one shot: filters are ranked within their layer by the sum of
|w|. Deviations: channels of layers that are joined by an addition may go too, and so may hidden units.
Sparsity is by default the fraction of weights that is gone, as in every other method, and not the
fraction of channels: half of the channels are about three quarters of the weights. Layers that are
added to each other lose the same channels, by the mean of their relative norms.

Preset `mia_prune` (arXiv 2202.03335): int(channels x sparsity) filters of each Conv2d are masked
together with their biases. BatchNorm is not masked, so a pruned channel still gives a constant, linear
layers stay whole, and nothing is removed.
"""

from __future__ import annotations

from pruneaudit.compression._filter_norm import FilterNorm


class L1Structured(FilterNorm):
    """Removes the filters of the lowest L1 norm."""

    norm = 1


PRUNER = L1Structured()
