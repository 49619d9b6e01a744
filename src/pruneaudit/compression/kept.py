"""The weights and channels that networks keep, as bits with the same meaning in all networks.

| bits | from |
|---|---|
| `channels/LAYER` | the record of removed channels (`structure`), one bit per output channel of the layer |
| `channels/NAME` | the record of removed heads or hidden units, one bit each |
| `mask/NAME` | the mask of a parameter, one bit per weight |

In a network that has also lost channels, masks have the shape of the smaller layers. Their bits are moved to the places
of these weights in the whole network, which must be built for that. Without the whole network, masks are used as they
are if they have the same shape in all networks, and left out otherwise.

Bits that are equal in all networks stay: they carry no information, cost little, and keep the places of two releases
equal. A network that has no mask for a parameter keeps all of its weights.
"""

# M models, D bits, n bits of one key

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor, nn

from pruneaudit.compression.kept_weights import placed, places_of_weights
from pruneaudit.compression.macs import layer_widths
from pruneaudit.compression.structure import CHANNELS, HEADS, REMOVALS, UNITS, of_kind, records
from pruneaudit.compression.structured import removal_in
from pruneaudit.compression.units import units_in

Kept = Mapping[str, np.ndarray]
"""One network's bits by key, each (n,) bool; True = kept."""
_CHANNELS = "channels/"


class Whole:
    """A network before any compression.

    Args:
        build: makes such a network, with any weights.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._build, model = build, build()
        self._widths = {name: outputs for name, (_, outputs) in layer_widths(model).items()}
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}

    def width(self, layer: str) -> int:
        """The number of a layer's output channels."""
        return self._widths[layer]

    def placed(self, masks: Mapping[str, Tensor], channels: str) -> dict[str, Tensor]:
        """Masks of a network without some channels, each in the shape of the whole parameter.

        Args:
            masks: bool, by parameter name.
            channels: the JSON text of the removal.
        """
        places, found = places_of_weights(self._build(), channels), dict(masks)
        for name in masks.keys() & places.keys():
            found[name] = placed(masks[name], places[name], self._shapes[name])
        return found


def kept_bits(masks: Mapping[str, Tensor], structure: str, whole: Whole | None) -> Kept:
    """The bits of one network.

    Args:
        masks: bool, by parameter name; True = the weight is kept.
        structure: how its architecture was changed, as JSON text; empty if it was not.
        whole: the network before any compression, if it can be built.
    """
    channels, kept = of_kind(structure, *REMOVALS), {}
    for layer, removed in removal_in(of_kind(structure, CHANNELS)):
        width = max(removed, default=-1) + 1 if whole is None else whole.width(layer)
        kept[_CHANNELS + layer] = ~np.isin(np.arange(width), removed)
    for record in records(of_kind(structure, HEADS, UNITS)):
        for group in units_in(json.dumps(record)).groups:
            kept[_CHANNELS + group.name] = ~np.isin(np.arange(group.count), group.removed)
    if masks and channels and whole is not None:
        masks = whole.placed(masks, channels)
    return kept | {f"mask/{name}": mask.cpu().flatten().numpy() for name, mask in masks.items()}


class KeptByModels:
    """The bits of several networks, taken in one by one and kept eight to a byte."""

    def __init__(self) -> None:
        self._models: list[dict[str, tuple[np.ndarray, int]]] = []

    def add(self, kept: Kept) -> None:
        """Takes in the next network."""
        self._models.append({key: (np.packbits(bits), len(bits)) for key, bits in kept.items()})

    def packed(self) -> tuple[np.ndarray, int]:
        """All bits (M, ceil(D / 8)) uint8 as `numpy.packbits` gives them, and D; 0 if no network has any."""
        found: dict[str, set[int]] = {}
        for model in self._models:
            for key, (_, size) in model.items():
                found.setdefault(key, set()).add(size)
        # Masks of different shapes are of different weights.
        sizes = {key: max(found[key]) for key in sorted(found) if len(found[key]) == 1 or key.startswith(_CHANNELS)}
        return np.stack([np.packbits(_joined(model, sizes)) for model in self._models]), sum(sizes.values())


def _joined(model: Mapping[str, tuple[np.ndarray, int]], sizes: Mapping[str, int]) -> np.ndarray:
    """One network's bits (D,); what it does not mention is kept."""
    found, start = np.ones(sum(sizes.values()), dtype=bool), 0
    for key, size in sizes.items():
        if key in model:
            bits, own = model[key]
            found[start : start + own] = np.unpackbits(bits, count=own)
        start += size
    return found
