"""ColumnFC: two hidden layers of 256 and 128 units with ReLU and dropout, for tables.

The network of mia_prune (arXiv:2202.03335) for Location, Purchase and Texas; weights Xavier-normal. Images are
flattened.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from pruneaudit.models.init import Initialisation
from pruneaudit.models.model import Dropout, Model, NetworkOptions, Width

if TYPE_CHECKING:
    import torch


class ColumnFcOptions(NetworkOptions):
    """Its hidden layers, and dropout."""

    init: Initialisation = "xavier_normal"
    """Distribution of the initial weights."""
    hidden: tuple[Width, ...] = (256, 128)
    """Units of each hidden layer, from the input on."""
    dropout: Dropout = 0.1
    """Probability that a hidden unit is zero in training."""


class ColumnFc(Model[ColumnFcOptions]):
    """The fully connected network with dropout."""

    takes_tables = True

    def build(self, options: ColumnFcOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Flatten, then linear layers, with dropout after each hidden one."""
        from torch import nn

        layers: list[nn.Module] = [nn.Flatten()]
        widths = (math.prod(input_shape), *options.hidden)
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(options.dropout)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))


MODEL = ColumnFc()
