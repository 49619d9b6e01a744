"""The structure of a release's networks, from the stored artifacts: which channels and which weights each one keeps.

| bits | from |
|---|---|
| `channels/LAYER` | the record of removed channels (`compression.structure`), one bit per output channel of the layer |
| `mask/NAME` | the mask of a parameter (`compression.state`), one bit per weight |

Bit j has to be the same weight in every network. In a network that has also lost channels, masks are of the layers that
are left, so their bits are put where these weights were in the whole network, which is built for this. Networks of a
user's function are not built: a run folder may be a stranger's. Their masks count as they are if they have the same
shape in all networks, and are left out if not; the bits of channels count in either case.

Bits that no network of the release varies stay: they say nothing, cost little, and keep the places of two releases
equal. A network that has no mask for a parameter keeps all of its weights.
"""

# M models, D bits

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pruneaudit.compression.macs import layer_widths
from pruneaudit.compression.structure import CHANNELS, of_kind, replay
from pruneaudit.compression.structured import removal_in
from pruneaudit.core.files import MASK_FILE, STRUCTURE_FILE
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_context import new_model
from pruneaudit.signals.bits import Bits
from pruneaudit.study.lineage import network_function
from pruneaudit.training.checkpoint import load_tensors

Kept = Mapping[str, np.ndarray]
"""One network's bits by key, each (n,) bool; True = kept."""


def released_structure(
    plan: Plan, store: Store, audit_data: AuditData, release: str, left_out: Collection[int] = ()
) -> Bits | None:
    """Returns which channels and weights each network of a release keeps; None if none of them lost any that way.

    Args:
        plan: the plan of the study.
        store: the store with the release's models.
        audit_data: the audit data of the study.
        release: its name.
        left_out: models to leave out.
    """
    tasks = [task for task in plan.models(release) if task.model_id not in left_out]
    whole = None if network_function(tasks[0].spec) else _Whole(tasks[0].spec, audit_data)
    folders = [store.path(task.artifact) for task in tasks]
    sizes = _sizes([{key: len(bits) for key, bits in _kept(folder, whole).items()} for folder in folders])
    if not sizes:
        return None
    # Packed one by one: the unpacked bits of all networks may not fit.
    packed = [np.packbits(_joined(_kept(folder, whole), sizes)) for folder in folders]
    return Bits(np.stack(packed), sum(sizes.values()))


class _Whole:
    """The network before any compression."""

    def __init__(self, spec: Mapping[str, Any], audit_data: AuditData) -> None:
        self._spec, self._audit_data = spec, audit_data
        self._model = new_model(spec, audit_data, torch.Generator())

    def width(self, layer: str) -> int:
        """Returns the output channels of a layer."""
        return layer_widths(self._model)[layer][1]

    def placed(self, masks: Mapping[str, torch.Tensor], channels: str) -> dict[str, torch.Tensor]:
        """Returns masks of a network without some channels, each in the shape of the whole parameter."""
        weights = dict(self._model.named_parameters())
        smaller = new_model(self._spec, self._audit_data, torch.Generator()).double()  # exact up to 2^53
        with torch.no_grad():
            for parameter in smaller.parameters():
                parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape))
        places = {name: place.detach().long() for name, place in replay(smaller, channels).named_parameters()}
        found = dict(masks)
        for name in masks.keys() & weights.keys():
            found[name] = torch.zeros(weights[name].numel(), dtype=torch.bool)
            found[name][places[name][masks[name]]] = True
        return found


def _kept(folder: Path, whole: _Whole | None) -> Kept:
    """Returns the bits of one network."""
    channels = ""
    if (folder / STRUCTURE_FILE).exists():
        channels = of_kind((folder / STRUCTURE_FILE).read_text(encoding="utf-8"), CHANNELS)
    kept: dict[str, np.ndarray] = {}
    for layer, removed in removal_in(channels):
        width = max(removed, default=-1) + 1 if whole is None else whole.width(layer)
        kept[f"channels/{layer}"] = ~np.isin(np.arange(width), removed)
    if (folder / MASK_FILE).exists():
        masks = load_tensors(folder / MASK_FILE)
        if channels and whole is not None:
            masks = whole.placed(masks, channels)
        kept |= {f"mask/{name}": mask.flatten().numpy() for name, mask in masks.items()}
    return kept


def _sizes(of_models: Collection[Mapping[str, int]]) -> dict[str, int]:
    """Returns the number of bits of each key, in a fixed order; without masks that differ in shape."""
    found: dict[str, set[int]] = {}
    for sizes in of_models:
        for key, size in sizes.items():
            found.setdefault(key, set()).add(size)
    return {key: max(found[key]) for key in sorted(found) if len(found[key]) == 1 or key.startswith("channels/")}


def _joined(kept: Kept, sizes: Mapping[str, int]) -> np.ndarray:
    """Returns one network's bits (D,); what it says nothing of is kept."""
    parts = [np.ones(size, dtype=bool) for size in sizes.values()]
    for part, key in zip(parts, sizes, strict=True):
        if key in kept:
            part[: len(kept[key])] = kept[key]
    return np.concatenate(parts)
