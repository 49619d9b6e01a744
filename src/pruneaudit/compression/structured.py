"""Removes channels, so that the network becomes smaller, not only sparse.

`channel_graph` finds the channels that go together, `channel_check` tests whether they can go without affecting
others, `channel_choice` ranks and counts them. Layers that cannot be followed, or fail the check, are kept whole and
named.

The removal is recorded as JSON text: `replay` repeats it on a freshly built network, whose state
dict then fits the saved weights.

Some layers keep their outputs: those that produce the network's output (so that the classes stay), excluded
ones, and those whose channels the network itself pads with zeros (the shortcut without parameters of
ResNet-20; Li et al. 2017, arXiv 1608.08710, leave them for the same reason). Their inputs can shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pruneaudit.compression.attention import attentions, linear_calls
from pruneaudit.compression.channel_check import ChannelCheck, trial_removal
from pruneaudit.compression.channel_choice import (
    Group,
    KeptWhole,
    check_sparsity,
    how_many,
    kept_notes,
    removal_order,
    removed_channels,
    removed_costs,
)
from pruneaudit.compression.channel_graph import Importance, Removal, channel_groups, cut, one_input, unfit
from pruneaudit.compression.macs import evaluating, layer_macs, layer_widths
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.selection import Scope
from pruneaudit.compression.structure import CHANNELS, of_kind
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.models._outputs import logits_in

OF_HEADS = "their channels belong to heads of attention, which 'heads' removes whole"
Target = Literal["channels", "params", "macs"]
"""Sparsity is the removed fraction of this: of channels of the layers that can shrink, of weights of all convolutional
and linear layers, or of multiply-accumulates."""


class Structure(Options):
    """What was removed from an architecture."""

    input_shape: tuple[int, ...]
    """Shape of one sample."""
    removed: tuple[tuple[str, tuple[int, ...]], ...]
    """By layer, the removed output channels; of layers that lose channels together, one is named."""
    target: Target
    sparsity: float
    """The requested fraction."""
    reached: float
    """The removed fraction."""
    kept: tuple[KeptWhole, ...] = ()
    """Layers that keep all channels because removing them would not be safe."""


@dataclass(frozen=True)
class Limits:
    """Limits on a removal of channels."""

    exclude: Sequence[str] = ()
    """Layers that keep their output channels: module names, `first_conv`, `classifier`."""
    max_channel_sparsity: float = 0.95
    """Largest fraction of its channels that a layer can lose, in (0, 1)."""


NO_LIMITS = Limits()


def remove_channels(
    model: nn.Module,
    example: Tensor,
    importance: Importance,
    sparsity: float,
    target: Target = "params",
    scope: Scope = "layerwise",
    limits: Limits = NO_LIMITS,
) -> tuple[nn.Module, str]:
    """A smaller copy of `model`, without its least important channels.

    Channels go one by one in a fixed order, until the removed fraction is nearest to `sparsity`.
    One channel is the finest step, so the fraction can be off by half a step.

    Args:
        model: the network; it does not change.
        example: one input (1, C, H, W) or (1, F); only its shape matters.
        importance: the score that ranks channels; the lowest go first.
        sparsity: fraction to remove, in (0, 1).
        target: what it is a fraction of.
        scope: `layerwise` removes the same fraction of each layer's channels, `global` ranks all together
            (norms relative to their layer's mean, gammas unchanged).
        limits: layers to keep, and the most that a layer can lose.

    Returns:
        The smaller network, in the mode of `model`, with new parameters (so it needs a new optimizer),
        and the removal, as JSON text for `replay`.

    Raises:
        UserError: sparsity is out of range or cannot be reached, an excluded layer does not exist, or this
            network has no channels that can be removed.
    """
    check_sparsity(sparsity)
    asked = _Asked(sparsity, target, scope, limits.max_channel_sparsity)
    input_shape = tuple(example.shape[1:])
    found, kept = channel_groups(model, input_shape, importance, limits.exclude)
    groups = found
    if groups:
        check = ChannelCheck(model, input_shape)
        groups, failed = check.accepted(groups, trial_removal(groups))
        kept += _explained(model, input_shape, failed)
    while True:
        removed = _chosen(model, input_shape, groups, kept, asked)
        if not check.finding(removed).failure:
            break
        groups, failed = check.accepted(groups, removed)
        kept += failed

    smaller = _remove(copied(model), input_shape, removed)
    if target == "channels":
        reached = sum(len(channels) for _, channels in removed) / sum(group.num_channels for group in groups)
    else:
        costs = _costs(model, input_shape, target)
        reached = 1 - sum(_costs(smaller, input_shape, target).values()) / sum(costs.values())
    structure = Structure(
        input_shape=input_shape, removed=removed, target=target, sparsity=sparsity, reached=reached, kept=kept
    )
    return smaller, structure.model_dump_json()


def _explained(model: nn.Module, input_shape: tuple[int, ...], kept: tuple[KeptWhole, ...]) -> tuple[KeptWhole, ...]:
    """The layers that stay whole, with a better reason for those of an attention than that their removal failed."""
    if not kept:
        return kept
    computing = {
        part.layer
        for group in attentions(model, linear_calls(model, one_input(model, input_shape))).groups
        for part in group.parts
        if part.side == "outputs"
    }
    of_heads = [computing.issuperset(each.layers) for each in kept]
    return tuple(
        each.model_copy(update={"reason": OF_HEADS}) if is_of_heads else each
        for each, is_of_heads in zip(kept, of_heads, strict=True)
    )


@dataclass(frozen=True)
class _Asked:
    """The requested amount, and its spread over layers."""

    sparsity: float
    target: Target
    scope: Scope
    max_channel_sparsity: float


def _chosen(
    model: nn.Module, input_shape: tuple[int, ...], groups: Sequence[Group], kept: Sequence[KeptWhole], asked: _Asked
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Which channels of the groups go.

    Raises:
        UserError: there is no group, or all together do not reach the sparsity; it names layers that are kept whole.
    """
    notes = "".join(f"; {note}" for note in kept_notes(kept))
    if not groups:
        raise UserError(
            "no layer of this network can lose channels (output layers, excluded layers and zero-padded "
            f"shortcuts cannot{notes}); exclude fewer layers, or use l1unstructured"
        )
    order = removal_order(groups, asked.scope, asked.max_channel_sparsity)
    if asked.target == "channels":
        fractions = removed_channels(groups, order)
    else:
        fractions = removed_costs(groups, order, layer_widths(model), _costs(model, input_shape, asked.target))
    chosen: dict[int, list[int]] = {}
    for index, unit in order[: how_many(fractions, asked.sparsity, asked.target, notes)]:
        chosen.setdefault(index, []).extend(groups[index].units[unit])
    return tuple((groups[index].root, tuple(sorted(channels))) for index, channels in sorted(chosen.items()))


def kept_whole(structure: str) -> tuple[str, ...]:
    """The layers that a removal had to keep whole, and why: one sentence per reason.

    Args:
        structure: the JSON text that `remove_channels` returned; empty: nothing was removed.
    """
    channels = of_kind(structure, CHANNELS)
    return kept_notes(_record(channels).kept) if channels else ()


def replay(model: nn.Module, structure: str) -> nn.Module:
    """Makes a freshly built network as small as one that `remove_channels` returned.

    Args:
        model: of the architecture that was pruned, with any weights; changed in place.
        structure: the JSON text that `remove_channels` returned; empty changes nothing.

    Returns:
        `model`, whose state dict now has the names and shapes of the pruned one.

    Raises:
        UserError: the text is not such a record, or belongs to another architecture.
    """
    if not structure:
        return model
    record = _record(structure)
    return _remove(model, record.input_shape, record.removed)


def removal_in(structure: str) -> Removal:
    """The removed output channels, by layer; of layers that lose channels together, one is named.

    Args:
        structure: the JSON text that `remove_channels` returned; empty: none.
    """
    return _record(structure).removed if structure else ()


def _record(structure: str) -> Structure:
    try:
        return Structure.model_validate_json(structure)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"structure: not a record of removed channels ({reason}); make the release again") from None


def _costs(model: nn.Module, input_shape: tuple[int, ...], target: Target) -> dict[str, int]:
    """Each layer's weights or MACs, by layer name."""
    if target == "macs":
        return layer_macs(model, one_input(model, input_shape))
    return {name.removesuffix(".weight"): weight.numel() for name, weight in counted_weights(model).items()}


# ------------------------------------------------------------------ removing


def _remove(model: nn.Module, input_shape: tuple[int, ...], removed: Removal) -> nn.Module:
    """Removes output channels, and everything that depends on them, in place; the network's output keeps its shape."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    widths, before = layer_widths(model), _output_shape(model, input_shape)
    for name, channels in removed:
        if name not in widths or not channels or not 0 <= min(channels) <= max(channels) < widths[name][1]:
            raise UserError(
                f"structure: no channels {min(channels, default=0)} to {max(channels, default=0)} in a layer '{name}' "
                "of this network; it was made for another architecture"
            )
    cut(model, input_shape, removed)
    for name, parameter in model.named_parameters():  # the library made new ones
        parameter.requires_grad_(name not in frozen)
    after = _output_shape(model, input_shape)
    assert after == before, f"output {before} became {after}"
    return model


@torch.no_grad()
def _output_shape(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample's logits; empty if it is not clear which part of the output they are.

    Raises:
        UserError: the network does not run.
    """
    with evaluating(model):
        try:
            logits = logits_in(model(one_input(model, input_shape)))
        except Exception as error:  # a user's network, or tracing it, may fail in any way
            raise unfit(error) from error
    return tuple(logits.shape[1:]) if isinstance(logits, Tensor) else ()
