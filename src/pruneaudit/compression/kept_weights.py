"""Finds the weights of the whole network that a compressed network keeps, from its masks and its remaining channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import matrices
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.structure import FACTORS, REMOVALS, of_kind, replay


def kept_weights(whole: nn.Module, masks: Mapping[str, Tensor], structure: str) -> Masks:
    """The kept weights of each weight matrix that lost some, in the shapes of the whole network.

    Args:
        whole: a network from before the compression, with any weights; it does not change.
        masks: bool by parameter name; True = the weight is kept.
        structure: how the architecture was changed, as JSON text; empty if it was not. Of layers of low rank, and of
            networks that have some, only masks are read.

    Returns:
        Masks by parameter name; of parameters that lost weights, and of those under a mask.

    Raises:
        UserError: the record belongs to another network.
    """
    channels = "" if of_kind(structure, FACTORS) else of_kind(structure, *REMOVALS)
    places = places_of_weights(whole, channels)
    found = {}
    for name, weight in _matrices(whole).items():
        mask, numbers = masks.get(name), places[name]
        if mask is not None and mask.shape == numbers.shape:
            found[name] = placed(mask.cpu(), numbers, weight.shape)
        elif numbers.shape != weight.shape:
            found[name] = placed(torch.ones_like(numbers, dtype=torch.bool), numbers, weight.shape)
    return Masks(found)


@torch.no_grad()
def places_of_weights(whole: nn.Module, channels: str) -> dict[str, Tensor]:
    """The place of each weight of a network without some channels in the same parameter of the whole network.

    Args:
        whole: the network with all channels; it does not change.
        channels: the record of the removed channels; empty: none.

    Returns:
        int64 by name of each weight matrix, in the shapes of the smaller network: places in the flattened parameter.

    Raises:
        UserError: the record belongs to another network.
    """
    numbered = copied(whole).cpu().double()  # a double counts any number of weights
    for matrix in _matrices(numbered).values():
        matrix.copy_(torch.arange(matrix.numel(), dtype=matrix.dtype).view(matrix.shape))
    return {name: matrix.long() for name, matrix in _matrices(replay(numbered, channels)).items()}


def placed(mask: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """A mask of a smaller parameter in the shape of the whole one, where removed weights are not kept.

    Args:
        mask: bool; True = kept.
        places: from `places_of_weights`, in the shape of the mask.
        shape: that of the whole parameter.
    """
    kept = torch.zeros(shape.numel(), dtype=torch.bool)
    kept[places[mask]] = True
    return kept.view(shape)


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    """The weight matrices that are parameters, by name; those that are computed cannot be numbered."""
    own = dict(model.named_parameters())
    return {matrix.name: own[matrix.name].detach() for matrix in matrices(model) if matrix.name in own}
