"""Initial weights, drawn from the model's own generator.

- `kaiming_normal`, He et al. 2015 (arXiv:1502.01852): weights are normal with variance 2 / fan, which keeps the
  variance through ReLU layers: forward through linear layers (fan-in), backward through convolutions (fan-out), as
  is usual in networks with BatchNorm.
- `xavier_normal`, Glorot and Bengio 2010: variance 2 / (fan-in + fan-out) in both, a compromise between the two
  directions in linear networks. mia_prune (arXiv:2202.03335) draws all its networks this way.

Embeddings are normal with standard deviation .02 under both, as in BERT (arXiv:1810.04805); the vector of the padding
is 0. The attribute `initial_values` of a layer states other initial values, for any of its parameters. It is required
for parameters outside torch's layers, such as a class token, positions or a layer scale:

    self.positions = nn.Parameter(torch.empty(length, width))
    self.initial_values = {"positions": Normal(0.02)}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pruneaudit.core.options import Options

if TYPE_CHECKING:
    import torch


Initialisation = Literal["kaiming_normal", "xavier_normal"]
"""Distribution of the weights of convolutions and linear layers."""


@dataclass(frozen=True)
class Normal:
    """A normal distribution around 0."""

    std: float
    """Standard deviation."""


@dataclass(frozen=True)
class Constant:
    """One number for all entries."""

    value: float
    """The number."""


InitialValue = Normal | Constant
"""The initial values of one parameter, as its layer states them."""
EMBEDDING = Normal(0.02)
"""The initial values of an embedding that states no others."""


class NetworkOptions(Options):
    """Options of every network of the package."""

    init: Initialisation = "kaiming_normal"
    """Distribution of the initial weights. (`training.init` says which models share one draw of them.)"""


def initialise(model: torch.nn.Module, generator: torch.Generator, scheme: Initialisation = "kaiming_normal") -> None:
    """Draws all weights, layer by layer in the order of `named_modules`.

    A layer's `initial_values` go first. Convolutions and linear layers: by `scheme`. Embeddings: `EMBEDDING`, and 0 for
    the padding. Biases: 0. Normalisation layers: weight 1, bias 0, running statistics reset.

    Args:
        model: the network, changed in place; it must be on the CPU.
        generator: a CPU generator.
        scheme: distribution of the weights.

    Raises:
        ValueError: a layer of another type has parameters without initial values; the message names it.
    """
    from torch import nn

    for name, layer in model.named_modules():
        stated: Mapping[str, InitialValue] = getattr(layer, "initial_values", {})
        for key, parameter in layer.named_parameters(recurse=False):
            if key in stated:
                _draw(parameter, stated[key], generator)
            elif not _draw_by_rule(layer, key, scheme, generator):
                raise ValueError(
                    f"layer '{name}' is a {type(layer).__name__}, expected parameters in convolutions, linear,"
                    f" embedding and normalisation layers only: no rule says how to draw its '{key}'; state it in its"
                    " attribute 'initial_values'"
                )
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            layer.reset_running_stats()
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            nn.init.zeros_(layer.weight[layer.padding_idx])


def _draw(parameter: torch.Tensor, value: InitialValue, generator: torch.Generator) -> None:
    """Draws a parameter from the values that its layer states."""
    from torch import nn

    if isinstance(value, Normal):
        nn.init.normal_(parameter, std=value.std, generator=generator)
    else:
        nn.init.constant_(parameter, value.value)


def _draw_by_rule(layer: torch.nn.Module, key: str, scheme: Initialisation, generator: torch.Generator) -> bool:
    """Draws a parameter of one of torch's layers; returns false for other layers."""
    from torch import nn

    batch_norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    parameter: torch.Tensor = getattr(layer, key)
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        if key == "bias":
            nn.init.zeros_(parameter)
        elif scheme == "xavier_normal":
            nn.init.xavier_normal_(parameter, generator=generator)
        else:
            mode: Literal["fan_in", "fan_out"] = "fan_in" if isinstance(layer, nn.Linear) else "fan_out"
            nn.init.kaiming_normal_(parameter, mode=mode, nonlinearity="relu", generator=generator)
        return True
    if isinstance(layer, batch_norm | nn.GroupNorm | nn.LayerNorm):
        nn.init.constant_(parameter, 0 if key == "bias" else 1)
        return True
    if isinstance(layer, nn.Embedding):
        _draw(parameter, EMBEDDING, generator)
        return True
    return False
