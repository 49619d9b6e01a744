"""Low rank: a layer becomes two smaller layers in a row, whose product is near its weights.

| form | matrix W | the two layers |
|---|---|---|
| `linear` | (outputs, inputs) | inputs to r, r to outputs |
| `transposed` | the same, of a `Conv1D` of transformers | the same |
| `channel` | (o, i h k) | an h x k convolution to r channels, then a 1x1 convolution |
| `spatial` | (o h, i k) | a 1 x k convolution to r channels, then an h x 1 convolution |

With the singular values S and vectors of W = U S V', the first layer gets sqrt(S) V' and the second U sqrt(S), both cut
to rank r (Eckart and Young 1936); the bias goes to the second layer. Stride, padding and dilation of a `spatial` pair
are split by axis; those of a `channel` pair belong to the first layer. Two layers hold r (rows + columns) weights:
fewer than rows x columns only below the break-even rank.

The change is recorded as JSON text: `replay_factors` repeats it on a freshly built network, whose state dict then has
the names and shapes of the released one.
"""

# m outputs, n inputs of a matrix, r rank; o output channels, i input channels, h x k kernel

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from pruneaudit.compression.channel_choice import KeptWhole, kept_notes
from pruneaudit.compression.decompositions import Split, matrix_shape
from pruneaudit.compression.factored import CONVOLUTIONS, Factored, Form
from pruneaudit.compression.linear_layers import is_linear, is_transposed
from pruneaudit.compression.matrices import untouchable_layers
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options


class LayerFactors(Options):
    """One layer that became two."""

    name: str
    """Its module name."""
    form: Form
    """How it was split."""
    rank: int = Field(ge=1)
    """Channels or features between the two layers."""


class FactorsRecord(Options):
    """The layers of a network that became two layers each."""

    kind: Literal["factors"] = "factors"
    layers: tuple[LayerFactors, ...]
    kept: tuple[KeptWhole, ...] = ()
    """Layers of other kinds, which stay as they are, though they are not excluded."""
    above: tuple[KeptWhole, ...] = ()
    """Layers that would not get smaller at the rank of their weights."""


def layer_of(parameter: str) -> str:
    """The module name of the layer with this weight."""
    return parameter.rpartition(".")[0]


def forms(
    model: nn.Module, weights: Mapping[str, Tensor], convolutions: Form = "channel"
) -> tuple[dict[str, Form], tuple[KeptWhole, ...]]:
    """How each layer can be split, and the layers that cannot, with the reason.

    Args:
        model: any network.
        weights: the weights that a method may change, from `selection.prunable_weights`.
        convolutions: the form of two-dimensional convolutions; others take `channel`.

    Returns:
        The form by parameter name, and the layers that stay whole.
    """
    untouchable, kept = untouchable_layers(model), []
    found: dict[str, Form] = {}
    for name in weights:
        layer, _, key = name.rpartition(".")
        module = model.get_submodule(layer)
        reason = _why_whole(model, layer, module, key, untouchable)
        if reason:
            kept.append(KeptWhole(layers=(name if key != "weight" else layer,), reason=reason))
        elif is_linear(module):
            found[name] = "transposed" if is_transposed(module) else "linear"
        else:
            found[name] = convolutions if isinstance(module, nn.Conv2d) else "channel"
    return found, tuple(kept)


def _why_whole(model: nn.Module, layer: str, module: nn.Module, key: str, untouchable: frozenset[str]) -> str:
    """Why a layer cannot become two; empty if it can."""
    if layer in untouchable:
        return "their weights are shared or computed from others"
    if isinstance(module, Factored) or isinstance(model.get_submodule(layer_of(layer)), Factored):
        return "they are factors already"
    if key != "weight" or not (is_transposed(module) or type(module) in (nn.Linear, *CONVOLUTIONS)):
        return f"weights of {type(module).__name__} cannot become two layers"
    if isinstance(module, _ConvNd) and module.groups > 1:
        return "grouped convolutions cannot become two layers"
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return "they have hooks, which two layers would lose"
    return ""


def factorise(model: nn.Module, ranks: Mapping[str, int], splits: Mapping[str, Split]) -> nn.Module:
    """Replaces layers by two, with weights from their decompositions, in place.

    Args:
        model: the network.
        ranks: the rank by parameter name; the largest possible one loses nothing but rounding.
        splits: the decompositions by parameter name.

    Returns:
        `model`, or the pair of layers if the network is a single layer.

    Example:
        >>> network = nn.Sequential(nn.Linear(64, 10))
        >>> split = Split.of(network[0].weight, "linear")
        >>> factorise(network, {"0.weight": 4}, {"0.weight": split})[0].weight.shape
        torch.Size([10, 64])
    """
    for name, rank in ranks.items():
        split = splits[name]

        def fill(made: Factored, split: Split = split, rank: int = rank) -> None:
            made.fill(*split.factors(rank))

        model = _replaced(model, LayerFactors(name=layer_of(name), form=split.form, rank=rank), fill)
    return model


def _replaced(model: nn.Module, wanted: LayerFactors, fill: Callable[[Factored], None] = lambda _: None) -> nn.Module:
    """The network with one layer replaced; the bias stays."""
    layer = model.get_submodule(wanted.name)
    made = Factored(layer, wanted.form, wanted.rank)
    with torch.no_grad():
        if made.bias is not None:
            made.bias.copy_(layer.bias)  # type: ignore[arg-type]
    fill(made)
    if not wanted.name:
        return made
    model.set_submodule(wanted.name, made)
    return model


def replay_factors(model: nn.Module, text: str) -> nn.Module:
    """Gives a freshly built network the layers of one that was factorised; their weights are 0.

    Args:
        model: of the architecture that was factorised, with any weights; changed in place.
        text: the record, as JSON text.

    Returns:
        `model`, whose state dict now has the names and shapes of the factorised one.

    Raises:
        UserError: the text is not such a record, or belongs to another architecture.
    """
    for layer in record_of(text).layers:
        try:
            module = model.get_submodule(layer.name)
        except AttributeError:
            module = None
        if not _can_take(module, layer.form) or layer.rank > min(matrix_shape(_weight(module), layer.form)):
            raise UserError(
                f"structure: no layer '{layer.name}' of this network has factors of rank {layer.rank} and form"
                f" {layer.form}; it was made for another architecture"
            )
        model = _replaced(model, layer)
    return model


def _can_take(module: nn.Module | None, form: Form) -> bool:
    """Whether a layer can be split in this form."""
    if form == "transposed":
        return is_transposed(module)
    wanted: tuple[type, ...] = {"linear": (nn.Linear,), "spatial": (nn.Conv2d,)}.get(form, CONVOLUTIONS)
    return type(module) in wanted


def _weight(module: nn.Module | None) -> Tensor:
    assert module is not None
    assert isinstance(module.weight, Tensor)
    return module.weight


def kept_whole(text: str) -> tuple[str, ...]:
    """The layers that cannot become two, and why: one sentence per reason; `text` is the record as JSON text."""
    return kept_notes(record_of(text).kept)


def kept_by_weights(text: str) -> tuple[str, ...]:
    """The layers that would not get smaller at the rank of their weights; `text` is the record as JSON text."""
    return kept_notes(record_of(text).above)


def record_of(text: str) -> FactorsRecord:
    """Reads a record.

    Raises:
        UserError: the text is not one.
    """
    try:
        return FactorsRecord.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"structure: not a record of factors ({reason}); make the release again") from None
