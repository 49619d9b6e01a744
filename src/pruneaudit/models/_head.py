"""The head of a network: the layers that turn its features into one output per class."""

# C classes

from __future__ import annotations

from torch import nn

from pruneaudit.core.errors import UserError


def head_of(network: nn.Module, num_classes: int) -> tuple[str, ...]:
    """Returns the names of the head's parameters and buffers, in the order of the state dict.

    Networks of transformers say which part is the body (`base_model_prefix`); all else is the head. In other networks
    it is the last linear layer or convolution with C outputs, in the order of `named_modules`.

    Args:
        network: the network.
        num_classes: C.

    Raises:
        UserError: no layer has C outputs.

    Example:
        >>> head_of(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), num_classes=3)
        ('2.weight', '2.bias')
    """
    names = tuple(network.state_dict())
    body = getattr(network, "base_model_prefix", "")
    if body and hasattr(network, body):
        return tuple(name for name in names if not name.startswith(f"{body}."))
    found = [
        name
        for name, layer in network.named_modules()
        if name and num_classes in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ]
    if not found:
        raise UserError(
            f"the network's head is not known: no linear layer or convolution has {num_classes} outputs, one for each"
            " class; set base.head = 'kept', or build a network that ends in such a layer"
        )
    return tuple(name for name in names if name.startswith(f"{found[-1]}."))
