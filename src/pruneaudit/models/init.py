"""Initial weights, drawn from a generator of the model's own.

He et al. 2015 (arXiv:1502.01852): weights are normal with variance 2 / fan, which keeps the variance
through ReLU layers; forward through linear layers (fan-in), backward through convolutions (fan-out),
as networks with BatchNorm usually have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def initialise(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draws every weight anew, layer by layer in the order of `named_modules`.

    Convolutions: Kaiming-normal by fan-out. Linear layers: Kaiming-normal by fan-in. Biases: 0.
    Normalisation layers: weight 1, bias 0, running statistics reset.

    Args:
        model: the network, changed in place; it must be on the CPU.
        generator: a CPU generator.

    Raises:
        ValueError: a layer has parameters and is none of these; the message names it.
    """
    from torch import nn

    batch_norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu", generator=generator)
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
