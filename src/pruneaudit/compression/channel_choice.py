"""Chooses the channels to remove: ranked, counted and capped, as pure functions.

Channels go one by one in a fixed order, until the removed fraction is nearest to the requested one.
A higher sparsity therefore removes the same channels and more.
"""

# n channels of a group, U units (channels that go together) of a group or of all of them

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pruneaudit.compression.selection import Scope
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options


@dataclass(frozen=True)
class Effect:
    """The weights that one layer loses with each channel of a group."""

    layer: str
    """Module name of a convolution or linear layer."""
    output: bool
    """Whether it loses outputs; else inputs."""
    losses: tuple[int, ...]  # (n,)


@dataclass(frozen=True)
class Group:
    """Channels that can be removed, and the layers that lose them together."""

    root: str
    """Module name of the layer whose outputs number the channels."""
    num_channels: int
    scores: Tensor  # (U,) on the CPU; higher = kept longer
    units: tuple[tuple[int, ...], ...]  # U tuples of channels that go together
    effects: tuple[Effect, ...]

    @property
    def producers(self) -> tuple[str, ...]:
        """Module names of the convolutions and linear layers that lose outputs."""
        return tuple(dict.fromkeys(effect.layer for effect in self.effects if effect.output))


class KeptWhole(Options):
    """Layers that keep all their output channels although they are not excluded."""

    layers: tuple[str, ...]
    """Module names of the convolutions and linear layers."""
    reason: str
    """The reason; it continues a sentence that begins with the layers."""


def kept_notes(kept: Sequence[KeptWhole]) -> tuple[str, ...]:
    """The layers that are kept whole, one sentence per reason."""
    by_reason: dict[str, list[str]] = {}
    for part in kept:
        by_reason.setdefault(part.reason, []).extend(part.layers)
    return tuple(f"kept whole: {', '.join(layers)}: {reason}" for reason, layers in by_reason.items())


def check_sparsity(sparsity: float) -> None:
    """Refuses a sparsity that channel removal cannot reach.

    Raises:
        UserError: sparsity is not in (0, 1).
    """
    if not 0 < sparsity < 1:
        raise UserError(f"sparsity: got {sparsity:g}, expected above 0 and below 1 (0.7 removes 70%)")


Order = Sequence[tuple[int, int]]
"""(group, unit) by position, in the order of removal."""


def removal_order(groups: Sequence[Group], scope: Scope, max_channel_sparsity: float) -> Order:
    """The order in which units are removed; among equals, the first in the network.

    Args:
        groups: all channels that may go, in the network's order.
        scope: `layerwise` takes the same fraction of every group, to the nearest whole unit, at any cut;
            `global` ranks the scores of all groups together.
        max_channel_sparsity: the largest fraction of its units that a group can lose; one always stays.
    """
    ranked = []
    for index, group in enumerate(groups):
        num_units = len(group.units)
        limit = min(num_units - 1, math.floor(max_channel_sparsity * num_units + 1e-9))
        by_score = group.scores.sort(stable=True)
        for place, (score, unit) in enumerate(zip(by_score.values.tolist(), by_score.indices.tolist(), strict=True)):
            if place < limit:
                key = score if scope == "global" else (place + 0.5) / num_units
                ranked.append((key, index, place, unit))
    return [(index, unit) for _, index, _, unit in sorted(ranked)]


def removed_channels(groups: Sequence[Group], order: Order) -> list[float]:
    """The fraction of all channels of the groups removed after each step of the order (U,), rising."""
    total, gone = sum(group.num_channels for group in groups), 0
    fractions = []
    for index, unit in order:
        gone += len(groups[index].units[unit])
        fractions.append(gone / total)
    return fractions


def removed_costs(
    groups: Sequence[Group], order: Order, widths: Mapping[str, tuple[int, int]], costs: Mapping[str, int]
) -> list[float]:
    """The fraction of all costs removed after each step of the order (U,), rising.

    Args:
        groups: all channels that may go.
        order: the order of removal.
        widths: (inputs, outputs) of each layer.
        costs: each layer's cost, proportional to inputs x outputs: weights, or MACs.
    """
    left = {layer: list(pair) for layer, pair in widths.items()}
    current = {layer: float(cost) for layer, cost in costs.items()}
    whole = sum(current.values())
    remaining = whole
    fractions = []
    for index, unit in order:
        group = groups[index]
        for effect in group.effects:
            left[effect.layer][effect.output] -= sum(effect.losses[channel] for channel in group.units[unit])
        for layer in dict.fromkeys(effect.layer for effect in group.effects if effect.layer in costs):
            cost = costs[layer] * math.prod(left[layer]) / math.prod(widths[layer])
            remaining += cost - current[layer]
            current[layer] = cost
        fractions.append(1 - remaining / whole)
    return fractions


def how_many(fractions: Sequence[float], sparsity: float, target: str, notes: str = "") -> int:
    """The number of steps that bring the removed fraction nearest to `sparsity`: at least 1; the fewer of a tie.

    Args:
        fractions: the removed fraction after each step, rising.
        sparsity: the fraction to remove, in (0, 1).
        target: what it is a fraction of, for messages.
        notes: further text about the network, for messages.

    Raises:
        UserError: all steps together do not reach `sparsity`.
    """
    most = fractions[-1] if fractions else 0.0
    if sparsity > most + 1e-9:
        raise UserError(
            f"sparsity {sparsity:g} of {target}: at most {math.floor(most * 1000) / 1000:g} can be removed from this "
            "network in whole channels; use that or less, raise max_channel_sparsity, exclude fewer layers, or use "
            f"l1unstructured{notes}"
        )
    return 1 + min(range(len(fractions)), key=lambda step: abs(fractions[step] - sparsity))
