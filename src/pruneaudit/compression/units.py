"""Units of transformers that can be removed whole, heads of attention and hidden units, and how they are cut out.

A unit is `size` neighbouring channels: a head is as many as its width, a hidden unit is one. Where several heads share
their keys and values, a unit is all of these. Every *part* of a group loses the same units: outputs of the layers that
compute them (q, k and v; the first layer of a feed-forward block), inputs of the layer that reads them (o; the second
layer). The rest of the network keeps its widths. Units are numbered as in the whole network, and a record names units,
never channels: no record can cut a head in two.

Code of attention may read the number of heads, or their total width, from attributes; the record lists the attributes
that change. The removal is recorded as JSON text: `replay_units` repeats it on a freshly built network.
"""

# n units of a group

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from pruneaudit.compression.channel_choice import KeptWhole, kept_notes
from pruneaudit.compression.linear_layers import is_linear, is_transposed, linear_widths
from pruneaudit.compression.smaller_attention import joint_weights, with_own_code
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options

RecordKind = Literal["heads", "units"]
Side = Literal["outputs", "inputs"]


class Part(Options):
    """A layer that loses channels with each unit."""

    layer: str
    """Its module name; for the outputs of an `nn.MultiheadAttention`, which has no layers for them, its own."""
    side: Side
    """Whether it computes the units or reads them."""
    offset: int = Field(default=0, ge=0)
    """The first channel of the first unit: layers can hold q, k and v one after the other."""
    size: int | None = Field(default=None, ge=1)
    """Channels of a unit in this layer, if not those of the group: layers can hold q, k and v head by head."""


class UnitGroup(Options):
    """Units that rank among each other, such as the heads of one attention."""

    name: str
    """The module name of the attention, or of the first layer of a feed-forward block."""
    size: int = Field(ge=1)
    """Channels of one unit in the layer that reads it."""
    count: int = Field(ge=1)
    """n, in the whole network."""
    parts: tuple[Part, ...]
    removed: tuple[int, ...] = ()
    """The units that are gone, ascending."""
    settings: tuple[tuple[str, str, int], ...] = ()
    """Attributes that change: module name, attribute, and its value for one unit, such as 1 for the number of heads."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The module names of its parts."""
        return tuple(dict.fromkeys(part.layer for part in self.parts))

    def without(self, units: Iterable[int]) -> UnitGroup:
        """The same group, with these units gone."""
        return self.model_copy(update={"removed": tuple(sorted(units))})

    def channels(self, part: Part) -> Tensor:
        """The channels that a part loses, ascending, int64."""
        size = part.size or self.size
        first = torch.tensor(self.removed, dtype=torch.int64)[:, None] * size
        return (part.offset + first + torch.arange(size)).flatten()


class UnitsRecord(Options):
    """The units that a network has lost."""

    kind: RecordKind
    groups: tuple[UnitGroup, ...]
    sparsity: float
    """The requested fraction."""
    kept: tuple[KeptWhole, ...] = ()
    """Groups that keep all their units because removing them would not be safe."""


# ------------------------------------------------------------------ cutting


def cut(model: nn.Module, groups: Iterable[UnitGroup]) -> None:
    """Removes the units of groups, in place.

    Args:
        model: the network; layers that lose channels get new parameters, so it needs a new optimizer.
        groups: the groups of a whole network of this architecture, each with the units that are gone.

    Raises:
        UserError: the network has no such layers.
    """
    for group in (group for group in groups if group.removed):
        _check_fits(model, group)
        for layer, side in dict.fromkeys((part.layer, part.side) for part in group.parts):
            same = [part for part in group.parts if (part.layer, part.side) == (layer, side)]
            _shrink(model, layer, side, torch.cat([group.channels(part) for part in same]))
        left = group.count - len(group.removed)
        for module, attribute, each in group.settings:
            setattr(model.get_submodule(module), attribute, each * left)


@contextmanager
def without_units(model: nn.Module, groups: Sequence[UnitGroup]) -> Iterator[nn.Module]:
    """Within the context, a network lacks the units of groups; afterwards it is as it was.

    Raises:
        UserError: the network has no such layers.
    """
    names = {name for group in groups for name in (*group.layers, *(setting[0] for setting in group.settings))}
    modules = [model.get_submodule(name) for name in names]
    modules += [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]
    before = [(module, module.__class__, dict(vars(module)), dict(module._parameters)) for module in modules]
    try:
        cut(model, groups)
        yield model
    finally:
        for module, kind, attributes, parameters in before:
            module.__class__ = kind
            vars(module).update(attributes)
            module._parameters.update(parameters)


def _shrink(model: nn.Module, name: str, side: Side, gone: Tensor) -> None:
    """Removes channels of one layer."""
    layer = model.get_submodule(name)
    if isinstance(layer, nn.MultiheadAttention):
        with_own_code(model, layer)
        _select(layer, "in_proj_weight", 0, gone)
        _select(layer, "in_proj_bias", 0, gone)
        return
    is_output = side == "outputs"
    _select(layer, "weight", int(is_output == is_transposed(layer)), gone)
    if is_output:
        _select(layer, "bias", 0, gone)
    names = ("nx", "nf") if is_transposed(layer) else ("in_features", "out_features")
    setattr(layer, names[is_output], int(getattr(layer, names[is_output])) - len(gone))


@torch.no_grad()
def _select(layer: nn.Module, key: str, axis: int, gone: Tensor) -> None:
    """Removes places along one axis of a parameter, if the layer has it."""
    parameter = layer._parameters.get(key)
    if parameter is not None:
        kept = torch.ones(parameter.shape[axis], dtype=torch.bool)
        kept[gone] = False
        smaller = parameter.index_select(axis, kept.nonzero()[:, 0].to(parameter.device))
        layer._parameters[key] = nn.Parameter(smaller, requires_grad=parameter.requires_grad)


def width_of(model: nn.Module, layer: str, side: Side) -> int | None:
    """The number of a layer's outputs or inputs; None if it is no layer that can lose any.

    The outputs of an `nn.MultiheadAttention` are those of its projections q, k and v, one after the other.
    """
    try:
        module = model.get_submodule(layer)
    except AttributeError:
        return None
    if isinstance(module, nn.MultiheadAttention):
        weights = joint_weights(module)
        return None if weights is None or side == "inputs" else len(weights)
    if not is_linear(module) or not isinstance(module._parameters.get("weight"), Tensor):
        return None
    return linear_widths(module)[side == "outputs"]


def _check_fits(model: nn.Module, group: UnitGroup) -> None:
    """Refuses a record of another architecture, before anything is cut."""
    if not 0 <= min(group.removed) <= max(group.removed) < group.count or len(set(group.removed)) >= group.count:
        raise UserError(f"structure: '{group.name}' has {group.count} units and cannot lose {group.removed}")
    widths = Counter[tuple[str, Side]]()
    for part in group.parts:
        widths[part.layer, part.side] += group.count * (part.size or group.size)
    for (layer, side), width in widths.items():
        if width_of(model, layer, side) != width:
            raise UserError(
                f"structure: no layer '{layer}' of this network has {width} {side}; it was made for another"
                " architecture"
            )


# ------------------------------------------------------------------ records


def replay_units(model: nn.Module, text: str) -> nn.Module:
    """Removes units from a freshly built network.

    Args:
        model: of the architecture that was pruned, with any weights; changed in place.
        text: the record, as JSON text.

    Returns:
        `model`, whose state dict now has the names and shapes of the pruned one.

    Raises:
        UserError: the text is not such a record, or belongs to another architecture.
    """
    cut(model, units_in(text).groups)
    return model


def kept_whole(text: str) -> tuple[str, ...]:
    """The layers that keep all their units, and why: one sentence per reason; `text` is the record as JSON text."""
    return kept_notes(units_in(text).kept)


def units_in(text: str) -> UnitsRecord:
    """Reads a record.

    Raises:
        UserError: the text is not one.
    """
    try:
        return UnitsRecord.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"structure: not a record of removed units ({reason}); make the release again") from None
