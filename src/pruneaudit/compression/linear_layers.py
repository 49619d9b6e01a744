"""Linear layers: torch's, and the `Conv1D` of transformers (GPT-2), whose weight is stored the other way round.

| layer | weight |
|---|---|
| `nn.Linear` | (outputs, inputs) |
| `transformers.pytorch_utils.Conv1D` | (inputs, outputs) |

`Conv1D` is recognised by its name, because importing transformers takes longer than most commands.
"""

from __future__ import annotations

from torch import nn

_TRANSPOSED = ("transformers.pytorch_utils", "Conv1D")
"""Module and name of the class."""


def is_transposed(module: nn.Module | None) -> bool:
    """Whether a layer is a `Conv1D` of transformers."""
    return any((kind.__module__, kind.__name__) == _TRANSPOSED for kind in type(module).__mro__)


def is_linear(module: nn.Module | None) -> bool:
    """Whether a layer is an `nn.Linear` or a `Conv1D`."""
    return isinstance(module, nn.Linear) or is_transposed(module)


def linear_widths(layer: nn.Module) -> tuple[int, int]:
    """Numbers of inputs and of outputs of a linear layer."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    inputs, outputs = layer.get_parameter("weight").shape
    return inputs, outputs
