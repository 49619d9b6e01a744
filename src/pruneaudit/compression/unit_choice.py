"""Chooses the heads or hidden units to remove, among those that can be removed."""

# n units of a group

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pruneaudit.compression.attention import SHARED, Found, attentions, feed_forwards, linear_calls
from pruneaudit.compression.channel_choice import KeptWhole, kept_notes
from pruneaudit.compression.selection import Scope, check_finite
from pruneaudit.compression.unit_check import UnitCheck
from pruneaudit.compression.units import RecordKind, UnitGroup
from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.data.inputs import Inputs

WORDS: Mapping[RecordKind, str] = {"heads": "heads", "units": "hidden units"}
_ADVICE: Mapping[RecordKind, str] = {
    "heads": (
        "expected q, k and v as linear layers of a module with the attribute num_heads or head_dim, one layer qkv, or"
        " nn.MultiheadAttention; use ffn, or l1unstructured"
    ),
    "units": (
        "expected two linear layers one after the other, from the network's width to another and back; use l2structured"
        " or l1unstructured"
    ),
}


def found_groups(model: nn.Module, example: Inputs, kind: RecordKind, exclude: Sequence[str]) -> Found:
    """The groups of a network that can lose units, in the order of the network, each with all its units.

    Args:
        model: the network; it does not change.
        example: one input (1, ...).
        kind: heads, or hidden units.
        exclude: modules or layers to leave whole.

    Raises:
        UserError: the network has none, it does not run, an excluded name fits none, or weights are not finite.
    """
    calls = linear_calls(model, example)
    found = attentions(model, calls)
    if kind == "units":
        found = feed_forwards(model, calls, found.parts)
    groups = _without_excluded(found.groups, exclude, kind)
    good, failed = UnitCheck(model, example).accepted(groups) if groups else ((), ())
    kept = (*found.kept, *failed)
    if not good:
        notes = "".join(f"; {note}" for note in kept_notes(_shortened(kept)))
        single = [group.name for group in groups if group.count == 1]
        notes += f"; one of each layer has to stay, and these have one: {', '.join(single)}" if single else ""
        raise UserError(f"no {WORDS[kind]} of this network can be removed{notes}; {_ADVICE[kind]}")
    for group in good:
        for layer in group.layers:
            for name, parameter in model.get_submodule(layer).named_parameters(prefix=layer):
                check_finite(name, parameter)
    if kind == "units":  # two layers that cannot lose units are not known to be a feed-forward block
        kept = tuple(each for each in kept if each.reason == SHARED)
    return Found(good, kept)


def _shortened(kept: Sequence[KeptWhole]) -> list[KeptWhole]:
    """The first reason for each kind of failure, for a message of one line."""
    first = {each.reason: each for each in reversed(kept)}
    return list(reversed(first.values()))[:2]


def _without_excluded(groups: Sequence[UnitGroup], exclude: Sequence[str], kind: RecordKind) -> list[UnitGroup]:
    """The groups that no name excludes."""
    left = list(groups)
    for name in exclude:
        meant = [
            group for group in groups if any(f"{each}.".startswith(f"{name}.") for each in (group.name, *group.layers))
        ]
        if not meant:
            known = list(dict.fromkeys(each for group in groups for each in (group.name, *group.layers)))
            raise UserError(
                f"exclude: no {WORDS[kind]} in '{name}'{nearest(name, known)}; expected among: {', '.join(known)}"
            )
        left = [group for group in left if group not in meant]
    return left


def chosen(found: Found, scores: Mapping[str, Tensor], sparsity: float, scope: Scope) -> tuple[UnitGroup, ...]:
    """The groups with the units that go: those of the lowest scores; among equals, the first of the network.

    Args:
        found: the groups.
        scores: by the name of a group, the importance of its units (n,).
        sparsity: fraction of the units to remove, in (0, 1), to the nearest whole number (a half goes up).
        scope: `global` ranks the units of all groups together, `layerwise` removes the same fraction of each group.

    Raises:
        UserError: the sparsity is out of range, too small for one unit, or would leave a group none.
    """
    groups = found.groups
    number, limits = _numbers_to_remove(groups, sparsity, scope)
    ranked = [
        (score, index, unit)
        for index, group in enumerate(groups)
        for unit, score in enumerate(scores[group.name].tolist())
    ]
    gone: dict[int, list[int]] = {index: [] for index in range(len(groups))}
    for _, index, unit in sorted(ranked):
        if number and len(gone[index]) < limits[index]:
            gone[index].append(unit)
            number -= 1
    return tuple(group.without(gone[index]) for index, group in enumerate(groups) if gone[index])


def _numbers_to_remove(groups: Sequence[UnitGroup], sparsity: float, scope: Scope) -> tuple[int, list[int]]:
    """How many units go in all, and at most from each group.

    Raises:
        UserError: the sparsity is out of range, too small for one unit, or would leave a group none.
    """
    if not 0 < sparsity < 1:
        raise UserError(f"sparsity: got {sparsity:g}, expected above 0 and below 1 (0.5 removes half of them)")
    counts = [group.count for group in groups]
    if scope == "global":
        number, limits = _share(sparsity, sum(counts)), [count - 1 for count in counts]
        most, largest = (sum(limits) + 0.5) / sum(counts), sum(counts)
        is_too_high = number > sum(limits)
    else:
        limits = [_share(sparsity, count) for count in counts]
        number, largest = sum(limits), max(counts)
        most = 1 - 0.5 / min(counts)
        is_too_high = any(limit >= count for limit, count in zip(limits, counts, strict=True))
    each = ", ".join(f"'{group.name}' has {group.count}" for group in groups[:3]) + (", ..." if len(groups) > 3 else "")
    if is_too_high:
        raise UserError(
            f"sparsity: got {sparsity:g}, but one of each layer has to stay ({each}); use at most"
            f" {math.ceil(1000 * most - 1) / 1000:g}"
        )
    if not number:
        raise UserError(
            f"sparsity: got {sparsity:g}, which is less than half of one ({each}); use at least"
            f" {math.ceil(500 / largest) / 1000:g}"
        )
    return number, limits


def _share(sparsity: float, count: int) -> int:
    """The whole number nearest to a fraction; a half goes up."""
    return math.floor(sparsity * count + 0.5)
