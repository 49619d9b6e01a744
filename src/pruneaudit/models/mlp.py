"""MLP: linear layers with ReLU between them, for tables and for (flattened) images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from pruneaudit.models.model import Model, NetworkOptions, Width

if TYPE_CHECKING:
    import torch


class MlpOptions(NetworkOptions):
    """Its hidden layers."""

    hidden: tuple[Width, ...] = (256, 128)
    """Units of each hidden layer, from the input on; none: a linear classifier."""


class Mlp(Model[MlpOptions]):
    """The fully connected network."""

    takes_tables = True

    def build(self, options: MlpOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Flatten, then linear layers, without BatchNorm."""
        from torch import nn

        layers: list[nn.Module] = [nn.Flatten()]
        widths = (math.prod(input_shape), *options.hidden)
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))


MODEL = Mlp()
