"""Initial weights, drawn from the model's own generator.

- `kaiming_normal`, He et al. 2015 (arXiv:1502.01852): weights are normal with variance 2 / fan, which keeps the
  variance through ReLU layers: forward through linear layers (fan-in), backward through convolutions (fan-out), as
  is usual in networks with BatchNorm.
- `xavier_normal`, Glorot and Bengio 2010: variance 2 / (fan-in + fan-out) in both, a compromise between the two
  directions in linear networks. mia_prune (arXiv:2202.03335) draws all its networks this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pruneaudit.core.options import Options

if TYPE_CHECKING:
    import torch


Initialisation = Literal["kaiming_normal", "xavier_normal"]
"""Distribution of the weights of convolutions and linear layers."""


class NetworkOptions(Options):
    """Options of every network of the package."""

    init: Initialisation = "kaiming_normal"
    """Distribution of the initial weights. (`training.init` says which models share one draw of them.)"""


def initialise(model: torch.nn.Module, generator: torch.Generator, scheme: Initialisation = "kaiming_normal") -> None:
    """Draws all weights, layer by layer in the order of `named_modules`.

    Convolutions and linear layers: by `scheme`. Biases: 0. Normalisation layers: weight 1, bias 0, running statistics
    reset.

    Args:
        model: the network, changed in place; it must be on the CPU.
        generator: a CPU generator.
        scheme: distribution of the weights.

    Raises:
        ValueError: a layer of another type has parameters; the message names it.
    """
    from torch import nn

    batch_norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            if scheme == "xavier_normal":
                nn.init.xavier_normal_(layer.weight, generator=generator)
            else:
                mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.Linear) else "fan_out"
                nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu", generator=generator)
        elif isinstance(layer, batch_norm | nn.GroupNorm | nn.LayerNorm):
            if layer.weight is not None:
                nn.init.ones_(layer.weight)
            if isinstance(layer, batch_norm):
                layer.reset_running_stats()
        elif any(True for _ in layer.parameters(recurse=False)):
            raise ValueError(
                f"layer '{name}' is a {type(layer).__name__}, expected parameters in convolutions, linear and "
                "normalisation layers only: no rule says how to draw its weights"
            )
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
