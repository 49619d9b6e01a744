"""Finds channels that must be removed together, and cuts them out; the only file that uses Torch-Pruning.

Torch-Pruning (Fang et al. 2023, arXiv 2301.12900) tracks the layers that depend on a channel: a channel removed from
one convolution also goes from its BatchNorm, from every layer that is added to it, and from the inputs of every
layer that reads it. Only its dependency graph is used. Ranking and counting are in `channel_choice`, because the
library's own ranking removes too much where scores are equal, silently skips layers that would vanish,
and counts channels only. The graph is not trusted: it loses track where channels are permuted,
stacked or sliced, so `channel_check` checks every removal.
"""

# n channels of a group, U units (channels that go together)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from pruneaudit.compression.channel_choice import Effect, Group, KeptWhole
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.matrices import untouchable_layers
from pruneaudit.compression.selection import excluded_layers
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.inputs import Inputs
from pruneaudit.models._outputs import logits_in

Importance = Literal["l1", "l2", "gamma"]
"""The score that ranks channels: the L1 or L2 norm of their filters, or |gamma| of their BatchNorm."""
Removal = Sequence[tuple[str, Sequence[int]]]
"""By layer, the output channels to remove; of layers that lose channels together, one is named."""

UNTOUCHABLE = "their weights, or those of a layer that loses channels with them, are shared or computed from others"
UNKNOWN = "a custom operation or parameter of the network uses their channels and cannot shrink"


def one_input(model: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """An input (1, ...) of ones, of the type and on the device of the model's weights."""
    weight = next(model.parameters())
    return torch.ones((1, *input_shape), dtype=weight.dtype, device=weight.device)


def without_texts(example: Inputs) -> Tensor:
    """The example, for methods that remove channels.

    Raises:
        UserError: it is a text: the tables that it is looked up in cannot be followed.
    """
    if isinstance(example, Tensor):
        return example
    raise UserError(
        "removal of channels: got texts (token ids), expected images or tables; for texts use 'ffn' for hidden units"
        " and 'heads'"
    )


def shortened(error: Exception) -> str:
    """An error raised by a network's code, or by tracing it, in one line."""
    return in_one_line(error, 150)


def unfit(error: Exception) -> UserError:
    """The error for a network that cannot be traced, or does not run."""
    return UserError(f"channels of this network cannot be removed ({shortened(error)}); use l1unstructured")


@contextmanager
def _graph(model: nn.Module, input_shape: tuple[int, ...]) -> Iterator[Any]:
    """Torch-Pruning's dependency graph of `model`, which stays in evaluation mode within the context.

    The input is passed as a tuple: a bare tensor would be unpacked along the batch first. It requires
    gradients, so that networks with frozen layers can be traced.
    """
    import torch_pruning

    x = one_input(model, input_shape).requires_grad_()
    with evaluating(model), torch.enable_grad():
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(
                model, (x,), output_transform=_traceable, verbose=False
            )
        except Exception as error:  # a user's network, or tracing it, may fail in any way
            raise unfit(error) from error
        yield graph


def _traceable(output: Any) -> list[Tensor]:
    """The logits in a network's output; where it is not clear which part they are, all its tensors with a gradient."""
    logits = logits_in(output)
    if isinstance(logits, Tensor):
        return [logits] if logits.requires_grad else []
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in _traceable(part)]


# ------------------------------------------------------------------ cutting


def cut(
    model: nn.Module,
    input_shape: tuple[int, ...],
    removed: Removal,
    traced: Callable[[nn.Module], object] = lambda _: None,
) -> None:
    """Removes output channels, and everything that depends on them, in place.

    Args:
        model: the network; if this fails, it may be left half changed.
        input_shape: shape of one sample.
        removed: the channels to remove.
        traced: called with `model` once the graph is built, before anything is cut.

    Raises:
        UserError: the network cannot be traced, or the graph cannot follow these channels.
    """
    modules = dict(model.named_modules())
    with _graph(model, input_shape) as graph:
        traced(model)
        try:
            for name, channels in removed:
                remove = graph.get_pruner_of_module(modules[name]).prune_out_channels
                graph.get_pruning_group(modules[name], remove, list(channels)).prune(record_history=False)
        except Exception as error:  # a user's network, or tracing it, may fail in any way
            raise unfit(error) from error


# ------------------------------------------------------------------ groups


def channel_groups(
    model: nn.Module, input_shape: tuple[int, ...], importance: Importance, exclude: Sequence[str]
) -> tuple[tuple[Group, ...], tuple[KeptWhole, ...]]:
    """All channels that can go according to the graph, in an order that depends only on the architecture.

    Args:
        model: the network.
        input_shape: shape of one sample.
        importance: the score that ranks channels.
        exclude: layers that keep their output channels: module names, `first_conv`, `classifier`.

    Returns:
        The groups, and the layers that the graph cannot follow. Output layers, excluded ones and zero-padded
        shortcuts are in neither.

    Raises:
        UserError: an excluded layer does not exist, or the network cannot be traced.
    """
    excluded, untouchable = excluded_layers(model, exclude), untouchable_layers(model)
    names = {module: name for name, module in model.named_modules()}
    fixed = {module for module, name in names.items() if name in excluded}
    whole = {module for module, name in names.items() if name in untouchable}
    found, kept = [], []
    with _graph(model, input_shape) as graph:
        seen: set[nn.Module] = set()
        for root in [module for module in graph.module2node if isinstance(module, _ConvNd | nn.Linear)]:
            if root in seen:
                continue
            seen.add(root)
            try:
                group = _all_channels(graph, root)
                seen.update(_producers(graph, group))
                if _has_to_stay(graph, group, fixed):
                    continue
                if any(item.dep.target.module in whole for item in group):
                    kept.append(KeptWhole(layers=_layers(graph, group, names), reason=UNTOUCHABLE))
                elif not _is_known(graph, group):
                    kept.append(KeptWhole(layers=_layers(graph, group, names), reason=UNKNOWN))
                elif made := _group(graph, group, importance, names):
                    found.append(made)
            except Exception as error:  # the graph may fail in any way on a user's network
                kept.append(KeptWhole(layers=(names[root],), reason=cannot_follow(error)))
    place = {name: index for index, name in enumerate(names.values())}
    return tuple(sorted(found, key=lambda group: place[group.root])), tuple(kept)


def cannot_follow(error: Exception) -> str:
    """Why a group on which the graph fails stays whole."""
    return f"the dependency graph cannot follow their channels ({shortened(error)})"


def _all_channels(graph: Any, root: nn.Module) -> Any:
    """The group of all output channels of a layer."""
    pruner = graph.get_pruner_of_module(root)
    return graph.get_pruning_group(root, pruner.prune_out_channels, list(range(pruner.get_out_channels(root))))


def _producers(graph: Any, group: Any) -> list[nn.Module]:
    """The modules of a group that lose outputs."""
    modules = [item.dep.target.module for item in group if graph.is_out_channel_pruning_fn(item.dep.handler)]
    return [module for module in modules if isinstance(module, nn.Module)]


def _layers(graph: Any, group: Any, names: dict[nn.Module, str]) -> tuple[str, ...]:
    """The convolutions and linear layers of a group that lose outputs."""
    layers = [module for module in _producers(graph, group) if isinstance(module, _ConvNd | nn.Linear)]
    return tuple(names[module] for module in dict.fromkeys(layers))


def _has_to_stay(graph: Any, group: Any, fixed: set[nn.Module]) -> bool:
    """Whether these channels are the network's output, excluded, or padded with zeros."""
    spatial = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}.get(type(group[0].dep.target.module), 0)
    for item in group:
        node = item.dep.target
        if graph.is_out_channel_pruning_fn(item.dep.handler) and (not node.outputs or node.module in fixed):
            return True
        # Padding lists two numbers per dimension, last dimension first; the channels come after the spatial ones.
        padding = getattr(node.grad_fn, "_saved_pad", ())
        if any(padding[2 * spatial : 2 * spatial + 2]):
            return True
    return False


def _is_known(graph: Any, group: Any) -> bool:
    """Whether every operation on these channels can shrink, and has channels at these places."""
    from torch_pruning.ops import OPTYPE

    known = {
        *(OPTYPE.CONV, OPTYPE.DEPTHWISE_CONV, OPTYPE.LINEAR, OPTYPE.BN, OPTYPE.LN, OPTYPE.GN, OPTYPE.IN, OPTYPE.PRELU),
        *(OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.SLICE),
    }
    for item in group:
        node, output = item.dep.target, graph.is_out_channel_pruning_fn(item.dep.handler)
        if node.type not in known or None in item.root_idxs:
            return False
        limit = graph.get_out_channels(node) if output else graph.get_in_channels(node)
        if limit is not None and max(item.idxs, default=0) >= limit:
            return False
    return True


def _group(graph: Any, group: Any, importance: Importance, names: dict[nn.Module, str]) -> Group | None:
    """The group as a `Group`; None if nothing ranks its channels, or its parts differ in size."""
    scores, parts = _scores(graph, group, importance), _parts(group)
    if scores is None or len(scores) % parts:
        return None
    units = torch.arange(len(scores)).view(parts, -1).T  # (U, parts)
    return Group(
        root=names[group[0].dep.target.module],
        num_channels=len(scores),
        scores=scores.view(parts, -1).mean(0),
        units=tuple(tuple(unit) for unit in units.tolist()),
        effects=tuple(_effects(graph, group, names)),
    )


def _parts(group: Any) -> int:
    """The number of equal parts into which GroupNorm and grouped convolutions split the channels.

    All parts must lose the same number: channels at the same place of each part go together.
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
    """The weights that convolutions and linear layers lose."""
    num_channels = len(group[0].idxs)
    for item in group:
        layer = item.dep.target.module
        if isinstance(layer, _ConvNd | nn.Linear):
            output = graph.is_out_channel_pruning_fn(item.dep.handler)
            losses = torch.bincount(torch.tensor(item.root_idxs), minlength=num_channels)
            yield Effect(names[layer], output, tuple(losses.tolist()))


@torch.no_grad()
def _scores(graph: Any, group: Any, importance: Importance) -> Tensor | None:
    """The score of each channel (n,): the mean over the coupled layers that produce it; None without any."""
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
    """One layer's scores of its output channels."""
    if importance == "gamma":
        return layer.weight.abs() if isinstance(layer, _BatchNorm) and layer.affine else None
    if not isinstance(layer, _ConvNd | nn.Linear):
        return None
    by_filter = layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight
    norms = by_filter.flatten(1).norm(p=int(importance[1]), dim=1)
    # Layers differ in fan-in and scale: relative to their layer's mean, norms can be compared and averaged.
    return norms / norms.mean().clamp(min=torch.finfo(norms.dtype).tiny)
