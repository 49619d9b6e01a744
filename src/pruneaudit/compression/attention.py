"""Finds the parts of transformers: attention with its heads, and feed-forward blocks with their hidden units.

An attention is a module with linear layers for queries, keys and values, called like that (`q`, `query`, `q_proj`,
`to_q`, ...), or with one layer for all three (`qkv`, `c_attn`, ...); or four layers in a list; or an
`nn.MultiheadAttention`. The next layer that reads as many channels is its output layer; names of output layers differ
too much to use them. The number of heads, or their width, is an attribute of the module or of the one around it. If
several heads share their keys and values, they are removed together.

A feed-forward block is two linear layers, called one after the other, from the network's width to another and back; or
three, the first two of which are multiplied.

All this is a guess. `unit_check` tries each removal and compares the outputs; after a wrong guess, the layer stays
whole.
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
_IN_LIST = 4
"""Layers in a list that can be an attention: q, k, v and what reads them."""
_COUNTS = frozenset(
    {"num_heads", "n_heads", "num_attention_heads", "n_head", "num_head", "nhead", "nheads", "heads", "h"}
)
"""Attributes with the number of heads."""
_KEY_COUNTS = frozenset({"num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv", "kv_heads"})
"""Attributes with the number of heads of keys and values, where several heads of queries share each."""
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
    """The heads of each attention; a layer for q, k and v can hold them in two ways, which overlap.

    Args:
        model: the network.
        calls: from `linear_calls`.
    """
    groups: list[UnitGroup] = []
    kept: list[KeptWhole] = []
    parts: set[str] = set()
    untouchable = untouchable_layers(model)
    for attention in _attentions(model, calls):
        layers = (*dict.fromkeys(attention.computing), *([attention.reader] if attention.reader else []))
        parts.update(layers)
        found = _groups(model, attention)
        if isinstance(found, str):
            kept.append(KeptWhole(layers=layers, reason=found))
        elif untouchable.intersection(layers):
            kept.append(KeptWhole(layers=layers, reason=SHARED))
        else:
            groups += found
    return Found(tuple(groups), tuple(kept), frozenset(parts))


@dataclass(frozen=True)
class _Attention:
    """The layers of one attention."""

    name: str
    computing: tuple[str, ...]
    """The layers that compute q, k and v; one for all, or three."""
    widths: tuple[int, int, int]
    """Channels of q, k and v."""
    reader: str | None
    """The layer that reads what they compute, if there is one."""


def _attentions(model: nn.Module, calls: Sequence[Call]) -> Iterator[_Attention]:
    called = {call.layer for call in calls}
    names = {module: name for name, module in model.named_modules()}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.MultiheadAttention):
            weights = joint_weights(module)
            third = 0 if weights is None else len(weights) // 3
            yield _Attention(name, (name,), (third, third, third), names[module.out_proj])
            continue
        own = [key for key, child in module.named_children() if is_linear(child) and prefix + key in called]
        roles = {_role(key): prefix + key for key in own}
        if {"q", "k", "v"} <= roles.keys():
            yield _with_reader(model, name, [roles[role] for role in "qkv"], calls)
        elif "qkv" in roles and len(own) <= len(("qkv", "out")):
            yield _with_reader(model, name, [roles["qkv"]], calls)
        elif isinstance(module, nn.ModuleList) and len(own) == len(module) == _IN_LIST:
            widths = {width for key in own for width in linear_widths(model.get_submodule(prefix + key))}
            if len(widths) > 1 or _width_of_head(model, name, widths.pop()) is None:
                continue  # four layers of another kind
            yield _with_reader(model, name, [prefix + key for key in own[:3]], calls)


def _role(key: str) -> str:
    """What a layer of this name computes: q, k, v or qkv; else its name."""
    plain = key.lower()
    return _ROLES.get(plain) or _ROLES.get(_AROUND.sub("", _AROUND.sub("", plain)), key)


def _with_reader(model: nn.Module, name: str, computing: Sequence[str], calls: Sequence[Call]) -> _Attention:
    """The attention with the next layer that reads as many channels as there are in q."""
    widths = [linear_widths(model.get_submodule(layer))[1] for layer in computing]
    q, k, v = widths if len(widths) > 1 else [widths[0] // 3] * 3
    order = [call.layer for call in calls]
    behind = calls[max(order.index(layer) for layer in computing) + 1 :]
    reader = next((call.layer for call in behind if call.inputs == q and call.layer not in computing), None)
    return _Attention(name, tuple(computing), (q, k, v), reader)


def _groups(model: nn.Module, attention: _Attention) -> list[UnitGroup] | str:
    """The heads of an attention, in each way in which its layers can hold them; or why they cannot go."""
    (q, k, v), reader = attention.widths, attention.reader
    if not q:
        return "nn.MultiheadAttention with other widths for keys and values, or with added keys, cannot lose heads"
    if reader is None:
        return "no layer reads what they compute"
    width = _width_of_head(model, attention.name, q)
    if width is None:
        return "no attribute says how many heads they have"
    if k != v or k % width or q % k:
        return "the widths of queries, keys and values do not fit each other"
    count, read = k // width, Part(layer=reader, side="inputs")

    def group(*computing: Part) -> UnitGroup:
        return UnitGroup(name=attention.name, size=q // count, count=count, parts=(*computing, read))

    def part(layer: str, offset: int = 0, size: int | None = None) -> Part:
        return Part(layer=layer, side="outputs", offset=offset, size=size)

    if len(attention.computing) == 1:
        (layer,) = attention.computing
        by_kind = group(*(part(layer, place * q) for place in range(3)))
        by_head = group(part(layer, size=3 * width))
        return [by_kind] if isinstance(model.get_submodule(layer), nn.MultiheadAttention) else [by_kind, by_head]
    of_keys = None if k == q else width
    sizes = (None, of_keys, of_keys)
    return [group(*(part(layer, size=size) for layer, size in zip(attention.computing, sizes, strict=True)))]


def _width_of_head(model: nn.Module, name: str, width: int) -> int | None:
    """The width of one head of q, from attributes of the attention, or of the module around it."""
    for holder in _holders(model, name):
        numbers = _whole_numbers(model.get_submodule(holder))
        sizes = {numbers[key] for key in _WIDTHS & numbers.keys() if numbers[key] > 0 and width % numbers[key] == 0}
        counts = {numbers[key] for key in _COUNTS & numbers.keys() if numbers[key] > 0 and width % numbers[key] == 0}
        if sizes or counts:
            return max(sizes | {width // count for count in counts})  # rather two heads than half of one
    return None


def settings_to_try(model: nn.Module, group: UnitGroup) -> Iterator[tuple[tuple[str, str, int], ...]]:
    """Attributes of an attention that may have to change with its heads, as `UnitGroup.settings`; the likeliest first.

    None for a feed-forward block. Some code reads the number of heads, or their width in all, from an attribute, and
    other code needs the old one.
    """
    if is_linear(model.get_submodule(group.name)):
        yield ()
        return
    width, head = group.count * group.size, min(part.size or group.size for part in group.parts)
    counts, widths = list[tuple[str, str, int]](), list[tuple[str, str, int]]()
    for holder in _holders(model, group.name):
        for key, number in _whole_numbers(model.get_submodule(holder)).items():
            if key in _COUNTS and number == width // head:
                counts.append((holder, key, group.size // head))
            elif key in _KEY_COUNTS and number == group.count:
                counts.append((holder, key, 1))
            elif key not in _WIDTHS and number == width:
                widths.append((holder, key, group.size))
            elif key not in _WIDTHS and number == group.count * head:
                widths.append((holder, key, head))
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
    for found in (found for place in range(len(calls)) for found in _blocks(calls[place : place + 3])):
        layers = tuple(call.layer for call in found)
        if attention_layers.intersection(layers) or layers[-1] == calls[-1].layer:
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


def _blocks(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """The first three calls, and the first two, as far as they could be a feed-forward block."""
    for number in (3, 2):
        *first, last = calls[:number]
        sizes = {(call.inputs, call.outputs) for call in first}
        if len({call.layer for call in calls[:number]}) < number or len(sizes) > 1:
            continue  # fewer calls, or other layers
        inputs, outputs = sizes.pop()
        # One layer can hold a block's first two.
        if last.outputs == inputs and (outputs == last.inputs or (number == 2 and outputs == 2 * last.inputs)):
            yield calls[:number]
