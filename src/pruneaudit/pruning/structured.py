"""Channels that really go: the network becomes smaller, not only sparse.

Torch-Pruning (Fang et al. 2023, arXiv 2301.12900) follows which layers hang together: a channel that
goes from one convolution goes from its BatchNorm, from every layer that is added to it, and from the
inputs of every layer that reads it. This file is the only one that knows that library. Of it, only
the dependency graph is used. Ranking and counting are in `channel_choice`, because the library's own
ranking removes more than it should where scores are equal, passes over layers that would vanish
without a word, and counts channels only.

What was removed is kept as JSON text: `replay` repeats it on a freshly built network, whose state
dict then fits the saved weights.

Some layers keep their outputs: those that make the network's output (so the classes stay), excluded
ones, and those whose channels the network itself pads with zeros (the shortcut without parameters of
ResNet-20; Li et al. 2017, arXiv 1608.08710, leave them for the same reason). Their inputs may shrink.
"""

# n channels of a group, U units (channels that go together)

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from pruneaudit.errors import UserError
from pruneaudit.options import Options
from pruneaudit.pruning.channel_choice import (
    Effect,
    Group,
    check_sparsity,
    how_many,
    removal_order,
    removed_channels,
    removed_costs,
)
from pruneaudit.pruning.matrices import counted_weights, untouchable_layers
from pruneaudit.pruning.parametrized import copied
from pruneaudit.pruning.selection import Scope, excluded_layers
from pruneaudit.pruning.size import evaluating, layer_macs, layer_widths

Importance = Literal["l1", "l2", "gamma"]
"""By what channels are ranked: the L1 or L2 norm of their filters, or |gamma| of their BatchNorm."""
Target = Literal["channels", "params", "macs"]
"""What sparsity is the removed fraction of: channels of the layers that can shrink, weights of all convolutional and
linear layers, or multiply-accumulates."""


class Structure(Options):
    """What was removed from an architecture."""

    input_shape: tuple[int, ...]
    """Of one sample."""
    removed: tuple[tuple[str, tuple[int, ...]], ...]
    """Layer by layer, which of its output channels went; layers that hang together are named once."""
    target: Target
    sparsity: float
    """The fraction that was asked for."""
    reached: float
    """The fraction that was removed."""


def remove_channels(
    model: nn.Module,
    example: Tensor,
    importance: Importance,
    sparsity: float,
    target: Target = "params",
    scope: Scope = "layerwise",
    exclude: Sequence[str] = (),
    max_channel_sparsity: float = 0.95,
) -> tuple[nn.Module, str]:
    """A smaller copy of `model`, without its least important channels.

    Channels go one by one in a fixed order, as many as bring the removed fraction nearest to
    `sparsity`. One channel is the finest step, so the fraction may lie half a step on either side.

    Args:
        model: the network; it stays as it is.
        example: one input (1, C, H, W) or (1, F); only its shape matters.
        importance: by what channels are ranked; the lowest go first.
        sparsity: fraction to remove, in (0, 1).
        target: of what it is a fraction.
        scope: `layerwise` removes the same fraction of each layer's channels, `global` ranks all together
            (norms then relative to their layer's mean, gammas as they are).
        exclude: layers that keep their output channels: module names, `first_conv`, `classifier`.
        max_channel_sparsity: no layer loses a larger fraction of its channels than this, in (0, 1).

    Returns:
        The smaller network, in the mode of `model`, with new parameters (so it needs a new optimizer),
        and what was removed, as JSON text for `replay`.

    Raises:
        UserError: sparsity is out of range or out of reach, an excluded layer does not exist, or this
            network has no channels that can be removed.
    """
    check_sparsity(sparsity)
    input_shape = tuple(example.shape[1:])
    groups = _removable_groups(model, input_shape, importance, exclude)
    order = removal_order(groups, scope, max_channel_sparsity)
    costs = _costs(model, input_shape, target)
    if target == "channels":
        fractions = removed_channels(groups, order)
    else:
        fractions = removed_costs(groups, order, layer_widths(model), costs)
    chosen: dict[int, list[int]] = {}
    for index, unit in order[: how_many(fractions, sparsity, target)]:
        chosen.setdefault(index, []).extend(groups[index].units[unit])
    removed = tuple((groups[index].root, tuple(sorted(channels))) for index, channels in sorted(chosen.items()))

    smaller = _remove(copied(model), input_shape, removed)
    if target == "channels":
        reached = sum(len(channels) for _, channels in removed) / sum(group.num_channels for group in groups)
    else:
        reached = 1 - sum(_costs(smaller, input_shape, target).values()) / sum(costs.values())
    structure = Structure(input_shape=input_shape, removed=removed, target=target, sparsity=sparsity, reached=reached)
    return smaller, structure.model_dump_json()


def replay(model: nn.Module, structure: str) -> nn.Module:
    """Makes a freshly built network as small as one that `remove_channels` returned.

    Args:
        model: of the architecture that was pruned, with any weights; changed in place.
        structure: the JSON text that `remove_channels` returned; empty changes nothing.

    Returns:
        `model`, whose state dict now has the names and shapes of the pruned one.

    Raises:
        UserError: the text is no such record, or belongs to another architecture.
    """
    if not structure:
        return model
    try:
        record = Structure.model_validate_json(structure)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"structure: not a record of removed channels ({reason}); make the release again") from None
    return _remove(model, record.input_shape, record.removed)


@contextmanager
def _graph(model: nn.Module, input_shape: tuple[int, ...]) -> Iterator[Any]:
    """Torch-Pruning's dependency graph of `model`, which is in evaluation mode meanwhile.

    The input is given as a tuple: a bare tensor would be unpacked along the batch first. It asks for
    gradients, so that networks with frozen layers are traced as well.
    """
    import torch_pruning

    x = _ones(model, input_shape).requires_grad_()
    with evaluating(model), torch.enable_grad():
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(model, (x,), verbose=False)
        except Exception as error:  # a user's network may fail in any way, and so may what traces it
            raise _unfit(error) from error
        yield graph


def _ones(model: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    weight = next(model.parameters())
    return torch.ones((1, *input_shape), dtype=weight.dtype, device=weight.device)


def _unfit(error: Exception) -> UserError:
    return UserError(
        f"channels of this network cannot be removed ({type(error).__name__}: {str(error)[:150]}); use l1unstructured"
    )


def _removable_groups(
    model: nn.Module, input_shape: tuple[int, ...], importance: Importance, exclude: Sequence[str]
) -> tuple[Group, ...]:
    """All channels that may go, group by group, in an order that depends on the architecture alone."""
    excluded, untouchable = excluded_layers(model, exclude), untouchable_layers(model)
    names = {module: name for name, module in model.named_modules()}
    kept = {module for module, name in names.items() if name in excluded}
    whole = {module for module, name in names.items() if name in untouchable}
    found = []
    with _graph(model, input_shape) as graph:
        for group in graph.get_all_groups(root_module_types=(_ConvNd, nn.Linear)):
            if any(item.dep.target.module in whole for item in group) or _is_fixed(graph, group, kept):
                continue
            scores, parts = _scores(graph, group, importance), _parts(group)
            if scores is None or len(scores) % parts:
                continue
            num_channels = len(scores)
            units = torch.arange(num_channels).view(parts, -1).T  # (U, parts)
            found.append(
                Group(
                    root=names[group[0].dep.target.module],
                    num_channels=num_channels,
                    scores=scores.view(parts, -1).mean(0),
                    units=tuple(tuple(unit) for unit in units.tolist()),
                    effects=tuple(_effects(graph, group, names)),
                )
            )
    if not found:
        raise UserError(
            "no layer of this network can lose channels (those of the output, excluded layers and zero-padded "
            "shortcuts cannot); exclude fewer layers, or use l1unstructured"
        )
    place = {name: index for index, name in enumerate(names.values())}
    return tuple(sorted(found, key=lambda group: place[group.root]))


def _is_fixed(graph: Any, group: Any, kept: set[nn.Module]) -> bool:
    """Whether these channels have to stay: excluded, the network's output, or handled by an unknown operation."""
    from torch_pruning.ops import OPTYPE

    known = {
        *(OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR, OPTYPE.BN, OPTYPE.LN, OPTYPE.GN, OPTYPE.IN, OPTYPE.PRELU),
        *(OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.SLICE),
    }
    spatial = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}.get(type(group[0].dep.target.module), 0)
    for item in group:
        node, output = item.dep.target, graph.is_out_channel_pruning_fn(item.dep.handler)
        if node.type not in known or (output and (not node.outputs or node.module in kept)):
            return True
        limit = graph.get_out_channels(node) if output else graph.get_in_channels(node)
        if None in item.root_idxs or (limit is not None and max(item.idxs, default=0) >= limit):
            return True
        # Padding is given from the last dimension on, two numbers each; the channels come after the spatial ones.
        padding = getattr(node.grad_fn, "_saved_pad", ())
        if any(padding[2 * spatial : 2 * spatial + 2]):
            return True
    return False


def _parts(group: Any) -> int:
    """Into how many equal parts the channels are split by GroupNorm and grouped convolutions.

    Every part must lose as much as the others: channels at the same place of each part go together.
    """
    parts = 1
    for item in group:
        module = item.dep.target.module
        if isinstance(module, nn.GroupNorm):
            parts = math.lcm(parts, module.num_groups)
        elif isinstance(module, _ConvNd) and not _is_depthwise(module):
            parts = math.lcm(parts, module.groups)
    return parts


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd) and layer.groups == layer.out_channels > 1


def _effects(graph: Any, group: Any, names: dict[nn.Module, str]) -> Iterator[Effect]:
    """What convolutions and linear layers lose."""
    num_channels = len(group[0].idxs)
    for item in group:
        layer = item.dep.target.module
        if isinstance(layer, _ConvNd | nn.Linear):
            output = graph.is_out_channel_pruning_fn(item.dep.handler)
            losses = torch.bincount(torch.tensor(item.root_idxs), minlength=num_channels)
            yield Effect(names[layer], output, tuple(losses.tolist()))


@torch.no_grad()
def _scores(graph: Any, group: Any, importance: Importance) -> Tensor | None:
    """What each channel is worth (n,): the mean over the coupled layers that produce it; None where none does."""
    total = torch.zeros(len(group[0].idxs))
    number = torch.zeros_like(total)
    for item in group:
        layer = item.dep.target.module
        if not graph.is_out_channel_pruning_fn(item.dep.handler):
            continue
        values = _layer_scores(layer, importance)
        if values is not None:
            root = torch.tensor(item.root_idxs)
            total.index_add_(0, root, values.float().cpu()[torch.tensor(item.idxs)])
            number.index_add_(0, root, torch.ones(len(root)))
    return total / number.clamp(min=1) if number.any() else None


def _layer_scores(layer: nn.Module, importance: Importance) -> Tensor | None:
    """A layer's own view of its output channels."""
    if importance == "gamma":
        return layer.weight.abs() if isinstance(layer, _BatchNorm) and layer.affine else None
    if not isinstance(layer, _ConvNd | nn.Linear):
        return None
    by_filter = layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight
    norms = by_filter.flatten(1).norm(p=int(importance[1]), dim=1)
    # Layers differ in fan-in and scale: relative to their layer's mean, norms can be compared and averaged.
    return norms / norms.mean().clamp(min=torch.finfo(norms.dtype).tiny)


def _costs(model: nn.Module, input_shape: tuple[int, ...], target: Target) -> dict[str, int]:
    """What each layer contributes to the whole: weights or MACs, by layer name."""
    if target == "macs":
        return layer_macs(model, _ones(model, input_shape))
    return {name.removesuffix(".weight"): weight.numel() for name, weight in counted_weights(model).items()}


# ------------------------------------------------------------------ removing


def _remove(model: nn.Module, input_shape: tuple[int, ...], removed: Sequence[tuple[str, Sequence[int]]]) -> nn.Module:
    """Removes output channels, and all that hangs on them, in place; the network's output keeps its shape."""
    modules, frozen = dict(model.named_modules()), {n for n, p in model.named_parameters() if not p.requires_grad}
    widths, before = layer_widths(model), _output_shape(model, input_shape)
    for name, channels in removed:
        if name not in widths or not channels or not 0 <= min(channels) <= max(channels) < widths[name][1]:
            raise UserError(
                f"structure: no channels {min(channels, default=0)} to {max(channels, default=0)} in a layer '{name}' "
                "of this network; it was made for another architecture"
            )
    with _graph(model, input_shape) as graph:
        try:
            for name, channels in removed:
                remove = graph.get_pruner_of_module(modules[name]).prune_out_channels
                graph.get_pruning_group(modules[name], remove, list(channels)).prune(record_history=False)
        except Exception as error:  # a user's network may fail in any way, and so may what traces it
            raise _unfit(error) from error
    for name, parameter in model.named_parameters():  # the library made new ones
        parameter.requires_grad_(name not in frozen)
    after = _output_shape(model, input_shape)
    assert after == before, f"output {before} became {after}"
    return model


@torch.no_grad()
def _output_shape(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of one sample's logits.

    Raises:
        UserError: the network does not run.
    """
    with evaluating(model):
        try:
            return tuple(model(_ones(model, input_shape)).shape[1:])
        except Exception as error:  # a user's network may fail in any way, and so may what traces it
            raise _unfit(error) from error
