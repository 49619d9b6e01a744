"""Which weights of a whole network a compressed one keeps: those under its masks, in the channels that it has left."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.state import State, masks_in, structure_in
from pruneaudit.compression.structure import CHANNELS, FACTORS, of_kind, replay


@torch.no_grad()
def kept_weights(whole: nn.Module, state: State) -> Masks:
    """The kept weights of each weight matrix that lost some, in the shapes of the whole network.

    Args:
        whole: a network from before the compression, with any weights; it does not change.
        state: the compressed state. Codes say nothing of what is kept; beside layers of low rank only masks are read.

    Returns:
        Masks by parameter name; of parameters that lost weights, and of those under a mask.

    Raises:
        UserError: the state belongs to another network.
    """
    numbered = copied(whole).cpu().double()  # a double counts any number of weights
    shapes = {name: matrix.shape for name, matrix in _parameters(numbered).items()}
    for matrix in _parameters(numbered).values():
        matrix.copy_(torch.arange(matrix.numel(), dtype=matrix.dtype).view(matrix.shape))
    changes = structure_in(state)
    masks: Mapping[str, Tensor] = masks_in(state) or {}
    channels = "" if of_kind(changes, FACTORS) else of_kind(changes, CHANNELS)
    left = _parameters(replay(numbered, channels))
    found = {}
    for name, shape in shapes.items():
        numbers, mask = left[name].long(), masks.get(name)
        if mask is not None and mask.shape == numbers.shape:
            numbers = numbers[mask]
        elif numbers.shape == shape:
            continue
        kept = torch.zeros(shape.numel(), dtype=torch.bool)
        kept[numbers.flatten()] = True
        found[name] = kept.view(shape)
    return Masks(found)


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    """The weight matrices that are parameters, by name; those that are computed cannot be numbered."""
    own = dict(model.named_parameters())
    return {name: own[name].detach() for name in counted_weights(model) if name in own}
