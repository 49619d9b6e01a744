"""Finds what transformers are made of: attention with its heads, and feed-forward blocks with their hidden units.

An attention is a module with linear layers for queries, keys and values, called like that (`q`, `query`, `q_proj`,
`to_q`, ...), or with one layer for all three (`qkv`, `c_attn`, ...); or four layers in a list; or an
`nn.MultiheadAttention`. The next layer that reads as many channels is its output layer: names differ too much. The
number of heads, or their width, is an attribute of the module or of the one around it.

A feed-forward block is two linear layers, called one after the other, from the network's width to another and back; or
three, the first two of which are multiplied.

All this is a guess. `unit_check` removes units for a trial and compares the outputs, so a wrong guess changes nothing.
"""

# W width of a head, H heads

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pruneaudit.compression.channel_choice import KeptWhole
from pruneaudit.compression.linear_layers import is_linear, linear_widths
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.matrices import untouchable_layers
from pruneaudit.compression.smaller_attention import joint_weights, without_shortcuts
from pruneaudit.compression.units import Part, UnitGroup
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.inputs import Inputs, answered

_ROLES = {
    **dict.fromkeys(("q", "query", "queries"), "q"),
    **dict.fromkeys(("k", "key", "keys"), "k"),
    **dict.fromkeys(("v", "value", "values"), "v"),
    **dict.fromkeys(("qkv", "c_attn", "query_key_value", "in_proj"), "qkv"),
}
"""Names of layers, without what `_AROUND` matches."""
_AROUND = re.compile(r"^(to|w|lin|linear|fc|proj|in_proj)_?(?=[qkv])|_?(proj|projection|lin|linear|layer|net|fc|w)$")
_JOINT, _IN_LIST = ("qkv",), 4
_COUNTS = frozenset(
    {"num_heads", "n_heads", "num_attention_heads", "n_head", "num_head", "nhead", "nheads", "heads", "h"}
)
"""Attributes with the number of heads."""
_WIDTHS = frozenset(
    {"head_dim", "attention_head_size", "head_size", "head_width", "d_head", "dim_head", "head_channels", "d_k"}
)
"""Attributes with the width of a head."""
SHARED = "their weights are shared with other layers or computed from others"


@dataclass(frozen=True)
class Call:
    """One call of a linear layer."""

    layer: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Found:
    """Groups of units, and layers of which none can be removed."""

    groups: tuple[UnitGroup, ...]
    kept: tuple[KeptWhole, ...] = ()
    parts: frozenset[str] = frozenset()
    """All layers that belong to an attention."""


def linear_calls(model: nn.Module, example: Inputs) -> tuple[Call, ...]:
    """The calls of linear layers in one pass, in order.

    Args:
        model: the network, which does not change.
        example: one input (1, ...).

    Raises:
        UserError: the network fails on it.
    """
    calls: list[Call] = []
    names = {module: name for name, module in model.named_modules() if is_linear(module)}

    def see(layer: nn.Module, *_: Any) -> None:
        calls.append(Call(names[layer], *linear_widths(layer)))

    handles = [layer.register_forward_hook(see) for layer in names]
    try:
        with evaluating(model), torch.no_grad(), without_shortcuts():
            answered(model, example)
    except Exception as error:  # a user's network may fail in any way
        raise UserError(f"the network fails on one input ({in_one_line(error, 150)})") from error
    finally:
        for handle in handles:
            handle.remove()
    return tuple(calls)


# ------------------------------------------------------------------ attention


def attentions(model: nn.Module, calls: Sequence[Call]) -> Found:
    """The heads of each attention.

    Args:
        model: the network.
        calls: from `linear_calls`.
    """
    groups: list[UnitGroup] = []
    kept: list[KeptWhole] = []
    parts: set[str] = set()
    untouchable = untouchable_layers(model)
    for name, computing, module in _computing(model, calls):
        width, reader = _width_and_reader(model, computing, module, calls)
        layers = (*dict.fromkeys(part.layer for part in computing), *([reader] if reader else []))
        parts.update(layers)
        if width is None or reader is None:
            why = "their widths differ, or no layer reads what they compute" if module is None else _FOREIGN
            kept.append(KeptWhole(layers=layers, reason=why))
        elif untouchable.intersection(layers):
            kept.append(KeptWhole(layers=layers, reason=SHARED))
        elif (count := _num_heads(model, name, width)) is None:
            kept.append(KeptWhole(layers=layers, reason="no attribute says how many heads they have"))
        else:
            read = Part(layer=reader, side="inputs")
            groups.append(UnitGroup(name=name, size=width // count, count=count, parts=(*computing, read)))
    return Found(tuple(groups), tuple(kept), frozenset(parts))


_FOREIGN = "nn.MultiheadAttention with other widths for keys and values, or with added keys, cannot lose heads"


def _computing(
    model: nn.Module, calls: Sequence[Call]
) -> Iterator[tuple[str, tuple[Part, ...], nn.MultiheadAttention | None]]:
    """Each attention's name and the layers that compute q, k and v; the module if it is torch's."""
    called = {call.layer for call in calls}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.MultiheadAttention):
            weights = joint_weights(module)
            third = module.embed_dim if weights is None else len(weights) // 3
            yield name, tuple(Part(layer=name, side="outputs", offset=place * third) for place in range(3)), module
            continue
        own = [key for key, child in module.named_children() if is_linear(child) and prefix + key in called]
        roles = {_role(key): prefix + key for key in own}
        if {"q", "k", "v"} <= roles.keys():
            yield name, tuple(Part(layer=roles[role], side="outputs") for role in "qkv"), None
        elif "qkv" in roles and len(own) <= len(("qkv", "out")):
            third, rest = divmod(linear_widths(model.get_submodule(roles["qkv"]))[1], 3)
            if not rest:
                places = tuple(Part(layer=roles["qkv"], side="outputs", offset=place * third) for place in range(3))
                yield name, places, None
        elif isinstance(module, nn.ModuleList) and len(own) == len(module) == _IN_LIST:
            yield name, tuple(Part(layer=prefix + key, side="outputs") for key in own[:3]), None


def _role(key: str) -> str:
    """What a layer of this name computes: q, k, v or qkv; else its name."""
    plain = key.lower()
    return _ROLES.get(plain) or _ROLES.get(_AROUND.sub("", _AROUND.sub("", plain)), key)


def _width_and_reader(
    model: nn.Module, computing: Sequence[Part], module: nn.MultiheadAttention | None, calls: Sequence[Call]
) -> tuple[int | None, str | None]:
    """The width of all heads, and the layer that reads them; None if q, k and v differ, or nothing does."""
    if module is not None:
        names = {found: name for name, found in model.named_modules()}
        weights = joint_weights(module)
        return (None if weights is None else len(weights) // 3), names[module.out_proj]
    layers = [part.layer for part in computing]
    widths = {linear_widths(model.get_submodule(layer))[1] // layers.count(layer) for layer in layers}
    if len(widths) > 1:
        return None, None
    width = widths.pop()
    order = [call.layer for call in calls]
    last = max(order.index(layer) for layer in layers)
    reader = next((call.layer for call in calls[last + 1 :] if call.inputs == width and call.layer not in layers), None)
    return width, reader


def _num_heads(model: nn.Module, name: str, width: int) -> int | None:
    """The number of heads, from attributes of the attention, or of the module around it."""
    for holder in _holders(model, name):
        numbers = _whole_numbers(model.get_submodule(holder))
        sizes = {numbers[key] for key in _WIDTHS & numbers.keys() if 0 < numbers[key] <= width}
        counts = {width // size for size in sizes if width % size == 0}
        counts |= {numbers[key] for key in _COUNTS & numbers.keys() if numbers[key] > 0 and width % numbers[key] == 0}
        if counts:
            return min(counts)  # a head is rather too wide than too narrow: halves of heads cannot go
    return None


def settings_to_try(model: nn.Module, group: UnitGroup) -> Iterator[tuple[tuple[str, str, int], ...]]:
    """Attributes of an attention that may have to change with its heads, as `UnitGroup.settings`; the likeliest first.

    None for a feed-forward block. Some code reads the number of heads, or their width in all, from an attribute, and
    other code needs the old one.
    """
    if is_linear(model.get_submodule(group.name)):
        yield ()
        return
    counts, widths = list[tuple[str, str, int]](), list[tuple[str, str, int]]()
    for holder in _holders(model, group.name):
        for key, number in _whole_numbers(model.get_submodule(holder)).items():
            if key in _COUNTS and number == group.count:
                counts.append((holder, key, 1))
            elif key not in _WIDTHS and number == group.count * group.size:
                widths.append((holder, key, group.size))
    inner = [setting for setting in widths if setting[0] == group.name]
    tried = [(*counts, *inner), (*counts, *widths), tuple(counts), tuple(widths), ()]
    if isinstance(model.get_submodule(group.name), nn.MultiheadAttention):
        tried = [tuple(setting for setting in counts if setting[0] == group.name)]
    yield from dict.fromkeys(tried)


def _holders(model: nn.Module, name: str) -> tuple[str, ...]:
    """The modules whose attributes can describe an attention: itself, and the one around it."""
    return (name,) if not name else (name, name.rpartition(".")[0])


def _whole_numbers(module: nn.Module) -> dict[str, int]:
    """The whole numbers among a module's attributes."""
    found = vars(module).items()
    return {key: number for key, number in found if type(number) is int and not key.startswith("_")}


# ------------------------------------------------------------------ feed-forward


def feed_forwards(model: nn.Module, calls: Sequence[Call], attention_layers: frozenset[str]) -> Found:
    """The hidden units of each pair or triple of layers that could be a feed-forward block; they can overlap.

    Args:
        model: the network.
        calls: from `linear_calls`.
        attention_layers: layers that belong to an attention.
    """
    groups: dict[tuple[str, ...], UnitGroup] = {}
    kept: dict[tuple[str, ...], KeptWhole] = {}
    untouchable = untouchable_layers(model)
    for place in range(len(calls)):
        found = _block(calls[place : place + 3])
        layers = tuple(call.layer for call in found)
        if not found or attention_layers.intersection(layers) or layers[-1] == calls[-1].layer:
            continue  # the last layer gives the logits
        if untouchable.intersection(layers):
            kept[layers] = KeptWhole(layers=layers, reason=SHARED)
            continue
        *first, last = found
        parts = [
            Part(layer=call.layer, side="outputs", offset=offset)
            for call in first
            for offset in range(0, call.outputs, last.inputs)
        ]
        read = Part(layer=last.layer, side="inputs")
        groups[layers] = UnitGroup(name=layers[0], size=1, count=last.inputs, parts=(*parts, read))
    return Found(tuple(groups.values()), tuple(kept.values()))


def _block(calls: Sequence[Call]) -> tuple[Call, ...]:
    """The first calls, if they are a feed-forward block; else none."""
    if len(calls) > 2 and calls[0].inputs == calls[1].inputs and calls[0].outputs == calls[1].outputs:
        gate, _, last = calls[:3]
        if len({call.layer for call in calls[:3]}) == 3 and (last.inputs, last.outputs) == (gate.outputs, gate.inputs):
            return tuple(calls[:3])
    if len(calls) > 1:
        first, last = calls[:2]
        is_back = last.outputs == first.inputs and first.outputs in (last.inputs, 2 * last.inputs)
        if is_back and first.layer != last.layer:
            return first, last
    return ()
