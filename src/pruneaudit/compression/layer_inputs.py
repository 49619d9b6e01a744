"""Second moments and norms of the inputs of a network's layers on calibration samples, layer by layer.

A layer multiplies its weight matrix (outputs, d) with columns x of d inputs: one column per sample and position for a
linear layer, one per patch for a convolution, whose groups have columns of their own. Padding of texts adds no columns
to linear layers, whatever the network computes there. With all columns as X (d, n), `moment` is X X' and `norms` are
the lengths of the rows of X. Both are sums in float64 over the samples in their order, `SAMPLES_AT_ONCE` at a time, in
evaluation mode: no caller chooses a batch size that could change them.

torch's `nn.MultiheadAttention` reads its weights without calling a layer. While samples pass, it runs as `FewerHeads`,
which calls its output layer; the inputs of its joint weights are those of the module, if queries, keys and values are
the same tensor.

Nothing is kept between calls. `moment` and `norms` run the samples through the network as it is at that moment, up to
the layer. So a method that goes layer by layer changes a layer before it asks for the next one's inputs:

    for layer in layers_in_order(model, context.samples, prunable_weights(model)):
        moment = layer.moment()  # sees the layers that this loop has changed
        model.get_parameter(layer.name).copy_(...)

A method that takes all inputs from the unchanged network asks for all of them first.
"""

# B samples at once, T tokens, G groups, C input channels, d inputs of one output (of its group), n columns

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pruneaudit.compression.linear_layers import is_linear, is_transposed
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.matrices import matrices
from pruneaudit.compression.smaller_attention import all_layers_called, joint_weights
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import MASK, answered
from pruneaudit.training.samples import Samples

SAMPLES_AT_ONCE = 32
"""Samples in one pass through the network."""
_MOST_NUMBERS = 2**24
"""Most numbers of the columns in memory at once, unless one sample has more."""


class _LastUseError(Exception):
    """The last layer of interest has its inputs: the rest of the pass is not needed."""


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """The inputs of the layers that use one weight matrix.

    Example:
        >>> moments = {each.name: each.moment() for each in layers_in_order(model, samples, ["fc.weight"])}
        >>> moments["fc.weight"].shape  # a linear layer with 64 inputs
        torch.Size([1, 64, 64])
    """

    name: str
    """The parameter's name."""
    groups: int
    """Groups of a convolution, each with its own inputs; else 1. `turned(weight).flatten(1).unflatten(0, (groups, -1))`
    is (groups, outputs, d): the rows that multiply the columns of each group."""
    layers: tuple[nn.Module, ...]
    """The modules that use it; several if they share it."""
    _model: nn.Module
    _samples: Samples
    _num_uses: int

    @property
    def axis(self) -> int:
        """The axis of the outputs in the weight: 0, or 1 in a `Conv1D`."""
        return int(is_transposed(self.layers[0]))

    def turned(self, tensor: Tensor) -> Tensor:
        """A tensor in the weight's shape with its outputs first; a second call turns it back."""
        return tensor.T if self.axis else tensor

    def moment(self) -> Tensor:
        """X X' of each group (G, d, d) float64, on the weight's device."""
        return self._summed(lambda columns: columns @ columns.mT)

    def norms(self) -> Tensor:
        """The length of each row of X, sqrt(sum of x_j^2 over the columns), of each group (G, d) float64."""
        return self._summed(lambda columns: columns.square().sum(2)).sqrt()

    def visit(self, see: Callable[[Tensor], None]) -> None:
        """Calls `see` with the inputs of each use of the layer, for `SAMPLES_AT_ONCE` samples at a time."""
        visit_inputs(self._model, self._samples, {self.name: self.layers}, lambda _, x: see(x), self._num_uses)

    def _summed(self, term: Callable[[Tensor], Tensor]) -> Tensor:
        total: list[Tensor] = []

        def see(x: Tensor) -> None:
            for part in x.split(max(1, _MOST_NUMBERS // max(1, _columns(self.layers[0], x[:1]).numel()))):
                found = term(_columns(self.layers[0], part.double()))
                total[:] = [total[0] + found if total else found]

        self.visit(see)
        return total[0]


def layers_in_order(model: nn.Module, samples: Samples, names: Iterable[str]) -> list[LayerInputs]:
    """The layers of some weight matrices, in the order in which the network first uses them.

    Args:
        model: the network, on the samples' device; its mode and weights do not change.
        samples: the calibration samples.
        names: names of parameters, as `selection.prunable_weights` returns them.

    Raises:
        UserError: there are no samples, or a matrix is not that of a linear layer, a convolution or a self-attention
            that the network calls: transposed convolutions, recurrent layers and tables have no such columns.
    """
    if not len(samples):
        raise UserError("there are no calibration samples, expected at least 1")
    wanted, owners = set(names), {}
    for matrix in matrices(model):
        if matrix.name in wanted:
            modules = [model.get_submodule(layer) for layer in matrix.layers]
            owners[matrix.name] = tuple({id(module): module for module in modules}.values())
            if not all(_has_columns(module, matrix.name) for module in modules):
                raise _without_columns(matrix.name, matrix.layers[0], f"{matrix.type} layers have none")
    uses: dict[str, int] = {}  # in the order of first use
    first = samples.chosen(slice(0, 1))
    visit_inputs(model, first, owners, lambda name, _: uses.update({name: uses.get(name, 0) + 1}))
    for name in owners:
        if name not in uses:
            raise _without_columns(name, name.rpartition(".")[0], "the network never calls the layer")
    return [
        LayerInputs(name, int(getattr(owners[name][0], "groups", 1)), owners[name], model, samples, count)
        for name, count in uses.items()
    ]


@torch.no_grad()
def visit_inputs(
    model: nn.Module,
    samples: Samples,
    layers: Mapping[str, Iterable[nn.Module]],
    see: Callable[[str, Tensor], None],
    num_uses: int | None = None,
) -> None:
    """Runs samples through a network in evaluation mode, and shows the inputs of some layers.

    Args:
        model: the network, on the samples' device.
        samples: the samples, in their order, at most `SAMPLES_AT_ONCE` at a time.
        layers: the modules to look at, by a name for `see`.
        see: called with the name and the input of each use of one of these modules; for linear layers on texts with
            the real positions alone, (n, d).
        num_uses: a pass ends after this many uses; default: it runs to the end.
    """
    seen = 0
    real: Tensor | None = None

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            nonlocal seen
            x = _input_of(module, inputs, named, name)
            see(name, x if real is None or isinstance(module, _ConvNd) else _without_padding(x, real))
            seen += 1
            if seen == num_uses:
                raise _LastUseError

        return before

    handles = [
        module.register_forward_pre_hook(hook(name), with_kwargs=True)
        for name, modules in layers.items()
        for module in modules
    ]
    try:
        with evaluating(model), all_layers_called(model):
            for some in _parts(samples):
                seen, batch = 0, samples.inputs(some)
                real = batch[MASK].bool() if isinstance(batch, Mapping) else None
                with contextlib.suppress(_LastUseError):
                    answered(model, batch)
    finally:
        for handle in handles:
            handle.remove()


def _parts(samples: Samples) -> Iterator[slice]:
    """The samples of each pass. There are never as many texts as tokens in one: it shows which axis is which."""
    tokens = 0 if samples.lengths is None else samples.stored.shape[1]
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        stop = min(start + SAMPLES_AT_ONCE, len(samples))
        ends = (start, stop - 1, stop) if stop - start == tokens > 1 else (start, stop)
        yield from (slice(first, last) for first, last in pairwise(ends))


def _input_of(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], name: str) -> Tensor:
    """The input of one use of a layer; of torch's attention with the samples first."""
    if not isinstance(module, nn.MultiheadAttention):
        found: Tensor = inputs[0] if inputs else named["input"]
        return found
    query, key, value = [*inputs, *(named[each] for each in ("query", "key", "value")[len(inputs) :])][:3]
    if not (query is key is value):
        raise _without_columns(name, name.rpartition(".")[0], "queries, keys and values have different inputs")
    return query if module.batch_first or query.ndim < 3 else query.transpose(0, 1)


def _without_padding(x: Tensor, real: Tensor) -> Tensor:
    """The inputs (n, d) at real positions; all of them if they do not go by position, such as the mean of a text.

    Args:
        x: (B, T, ..., d), (T, B, ..., d), (B T, d), or of another shape.
        real: (B, T) bool.
    """
    if x.shape[:2] == real.shape and x.ndim > 2:
        return x[real]
    if x.shape[:2] == real.T.shape and x.ndim > 2:
        return x.transpose(0, 1)[real]
    return x[real.flatten()] if x.ndim == 2 and len(x) == real.numel() else x


def _has_columns(module: nn.Module, parameter: str) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return joint_weights(module) is not None and parameter.endswith("in_proj_weight")
    return (is_linear(module) or isinstance(module, _ConvNd)) and not isinstance(module, _ConvTransposeNd)


def _without_columns(name: str, layer: str, why: str) -> UserError:
    return UserError(
        f"'{name}' has no inputs to measure: {why}; expected linear layers, self-attention, and convolutions that are"
        f" not transposed; exclude layer '{layer}'"
    )


def _columns(layer: nn.Module, x: Tensor) -> Tensor:
    """The columns that the layer's weight matrix multiplies (G, d, n)."""
    if is_linear(layer) or isinstance(layer, nn.MultiheadAttention):
        return x.reshape(1, -1, x.shape[-1]).mT
    assert isinstance(layer, _ConvNd)
    spatial = len(layer.kernel_size)
    around = layer._reversed_padding_repeated_twice
    if isinstance(layer.padding, tuple):  # by axis, last axis first; "same" can differ between both ends
        around = [amount for amount in reversed(layer.padding) for _ in range(2)]
    x = x if x.ndim == spatial + 2 else x[None]
    x = pad(x, around) if layer.padding_mode == "zeros" else pad(x, around, layer.padding_mode)
    for axis in range(spatial):
        reach, gap = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1, layer.dilation[axis]
        x = x.unfold(2 + axis, reach, layer.stride[axis])[..., ::gap]  # the kernel's axes gather at the end
    # (B, C, positions..., kernel...) to (C, kernel..., B, positions...)
    order = [1, *range(2 + spatial, 2 + 2 * spatial), 0, *range(2, 2 + spatial)]
    return x.permute(order).reshape(layer.groups, layer.weight[0].numel(), -1)
