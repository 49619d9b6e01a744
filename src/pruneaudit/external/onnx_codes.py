"""Puts the parts of a compressed network into its ONNX graph: codes, shared values, int8 activations.

| in the state | in the graph |
|---|---|
| codes and scales | an integer tensor and `DequantizeLinear`; 4 bits or fewer: two codes in a byte |
| indices and shared values | `Gather` from the shared values; up to 16 of them: two indices in a byte |
| scales of activations | `QuantizeLinear` and `DequantizeLinear` before each layer: int8 kernels in onnxruntime |
| masks | zeros among float weights |
| fewer channels, factors | smaller layers |

Onnxruntime computes `Gather` once, when it loads the file, and then multiplies float weights.

A layer runs as an int8 kernel if integers come in and go out. The output of a convolution that is added to another, or
averaged, stays float in the audited network, so onnxruntime computes that convolution in float, on rounded inputs and
weights. `ConvInteger` would be an int8 kernel with float output, but takes 14 times as long as the float one.
"""

# C output channels, G groups of weights in a channel

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from pruneaudit.compression.activations import round_input, round_output
from pruneaudit.compression.grids import Grids
from pruneaudit.compression.matrices import matrices
from pruneaudit.core.errors import UserError
from pruneaudit.external.onnx_graph import Graph, attribute, channel_axis, scaled

_LARGEST_BIAS = 2**30
"""Largest bias as a code of 32 bits: half of the range is left for the sum that it is added to."""
_KEEP_ORDER = ("MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
"""Operations that give the same result before and after rounding activations."""


@dataclass(frozen=True)
class Activation:
    """How a layer's input or output is rounded to 8 bits: x becomes scale (code - zero)."""

    scale: float
    zero: int


def fold_into(graph: Graph, factors: Mapping[str, np.ndarray]) -> None:
    """Multiplies float weights by the factors of `fold_norms`."""
    for name, factor in factors.items():
        graph.values[name] = scaled(graph.values[name], factor, channel_axis(graph, name))


def put_codes(
    graph: Graph, model: nn.Module, state: Mapping[str, Tensor], factors: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Replaces float weights by codes and scales, or by indices and shared values, of the compressed state.

    Args:
        graph: the graph, after `fold_norms`.
        model: its network.
        state: the compressed state, which rebuilds the model's weights bit for bit.
        factors: by name, the factors that float weights have not been multiplied by yet; others are multiplied here.

    Returns:
        By parameter name how each weight with codes is stored: int4, uint4, int8, uint8 or float32.
    """
    stored: dict[str, str] = {}
    left = dict(factors)
    rounded = _inputs_of_weights(model)
    for matrix in matrices(model):
        kind = next((kind for kind in ("codes", "index") if f"{kind}/{matrix.name}" in state), "")
        if not kind:
            continue
        name = next((each for each in (matrix.name, *matrix.aliases) if each in graph.values), "")
        if not name or graph.values[name].dtype != np.float32:  # computed from other tensors, or of another type
            stored[matrix.name] = "float32" if not name else str(graph.values[name].dtype)
            continue
        factor = left.pop(name, None)
        if kind == "index":
            stored[matrix.name] = _put_shared(graph, name, matrix.name, state, factor)
        else:
            stored[matrix.name] = _put_rounded(graph, name, matrix.name, state, factor, name in rounded)
    fold_into(graph, left)
    return stored


def _put_rounded(
    graph: Graph,
    name: str,
    parameter: str,
    state: Mapping[str, Tensor],
    factor: np.ndarray | None,
    is_for_kernels: bool,
) -> str:
    """Stores one weight as codes and scales; returns the type of the codes."""
    grid = Grids.of(state).grids[parameter]
    low, high, axis = grid.low, grid.high, grid.axis
    codes = state[f"codes/{parameter}"].numpy().astype(np.int16)
    scale, zero = grid.scale.numpy().astype(np.float64), grid.zero.numpy().astype(np.int16)  # (1,), (C,) or (C, G)
    if scale.ndim == 1 or scale.shape[1] == 1:
        whole = (codes.shape[axis],)
        scale, zero = np.broadcast_to(scale.reshape(-1), whole), np.broadcast_to(zero.reshape(-1), whole)
    if factor is not None:
        codes, scale, zero = _folded(codes, scale, zero, factor, axis, high)
    is_signed = low < 0
    is_for_kernels &= scale.ndim == 1
    is_small = not is_for_kernels and high - low < 16
    codes, scale = _without_tiny_scales(codes, scale, zero, axis)
    codes, zero, kind = _typed(codes, zero, is_signed, is_small)
    _add_dequantise(graph, name, _Codes(codes, scale, zero, axis, grid.group), is_for_kernels)
    return kind


def _folded(
    codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, factor: np.ndarray, axis: int, high: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, scales and zero points of a weight times a factor per channel; a negative one mirrors the codes."""
    shape = [1] * codes.ndim
    shape[axis] = -1
    others = tuple(range(1, scale.ndim))
    factors = factor.reshape(-1, *(1 for _ in others))  # (C,) or (C, 1)
    scale = np.broadcast_to(scale, (len(factor), *scale.shape[1:])) * np.abs(factors)
    zero = np.broadcast_to(zero, scale.shape)
    if not zero.any() and (-codes).max(initial=0) <= high:
        mirrored, of_zero = -codes, zero
    else:  # the lowest code has no opposite: all move by one, with the code of 0
        top = high if zero.any() or codes.min(initial=0) >= 0 else -1
        mirrored, of_zero = top - codes, top - zero
    negative = factor < 0
    codes = np.where(negative.reshape(shape), mirrored, codes)
    return codes, scale, np.where(factors < 0, of_zero, zero)


def _without_tiny_scales(
    codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gives channels of zeros the largest scale: with theirs, of 1e-12 or 0, a bias would not fit into 32 bits."""
    if scale.ndim > 1:
        return codes, scale
    channels = np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1)
    empty = (channels == zero.reshape(-1, 1)).all(axis=1) | (scale == 0)
    shape = [1] * codes.ndim
    shape[axis] = -1
    codes = np.where(empty.reshape(shape), np.broadcast_to(zero, empty.shape).reshape(shape), codes)
    return codes, np.where(empty, scale.max(initial=0) or 1.0, scale)


def _typed(codes: np.ndarray, zero: np.ndarray, is_signed: bool, is_small: bool) -> tuple[np.ndarray, np.ndarray, str]:
    import ml_dtypes

    kinds = {(True, True): ml_dtypes.int4, (False, True): ml_dtypes.uint4, (True, False): np.int8}
    kind = np.dtype(kinds.get((is_signed, is_small), np.uint8))
    return codes.astype(kind), zero.astype(kind), kind.name


@dataclass(frozen=True)
class _Codes:
    """A weight on a grid."""

    codes: np.ndarray
    scale: np.ndarray
    """(C,), or (C, G) for groups."""
    zero: np.ndarray
    axis: int
    group: int
    """Weights in a group."""


def _add_dequantise(graph: Graph, name: str, weight: _Codes, is_for_kernels: bool) -> None:
    """Makes `name` the output of `DequantizeLinear`."""
    del graph.values[name]
    codes, scale, zero, axis = weight.codes, weight.scale, weight.zero, weight.axis
    readers = graph.users(name)
    is_transposed = codes.ndim == 2 and bool(readers) and all(node.op_type == "Transpose" for node in readers)
    if is_transposed and is_for_kernels:  # which need the codes as they are multiplied
        for node in readers:
            graph.remove(node)
            graph.transposed.setdefault(name, []).append(node.output[0])
            _dequantised(graph, node.output[0], codes.T.copy(), scale, zero, 1 - axis)
        return
    result = name
    is_multiplied = codes.ndim == 2 and not is_for_kernels and any(_multiplies(node) for node in readers)
    if is_transposed or is_multiplied:
        # Onnxruntime would round the other factor of a MatMul to 8 bits; a factor of two in between prevents that.
        result, scale = f"{name}/half", scale / 2
        graph.values[f"{name}/two"] = np.array(2, np.float32)
        graph.add("Mul", [result, f"{name}/two"], name)
    if scale.ndim == 1:
        _dequantised(graph, result, codes, scale, zero, axis)
        return
    channels = np.moveaxis(codes, axis, 0)
    flat = channels.reshape(len(channels), -1)  # groups follow each other in an output channel
    if codes.ndim == 2 and not axis:
        _dequantised(graph, result, flat, scale, zero, 1, weight.group)
        return
    _dequantised(graph, f"{name}/flat", flat, scale, zero, 1, weight.group)
    graph.values[f"{name}/shape"] = np.array(channels.shape, np.int64)
    shaped = f"{name}/channels" if axis else result
    graph.add("Reshape", [f"{name}/flat", f"{name}/shape"], shaped)
    if axis:
        graph.add("Transpose", [shaped], result, perm=[*range(1, axis + 1), 0, *range(axis + 1, codes.ndim)])


def _multiplies(node: Any) -> bool:
    """Whether a node multiplies by a weight as it is, as for GPT-2's layers (in, out)."""
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0))


def _dequantised(
    graph: Graph, output: str, codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int, block_size: int = 0
) -> None:
    parts = {f"{output}/codes": codes, f"{output}/scale": scale.astype(np.float32), f"{output}/zero": zero}
    graph.values |= parts
    blocks = {"block_size": block_size} if block_size else {}
    graph.add("DequantizeLinear", list(parts), output, axis=axis, **blocks)


def _put_shared(graph: Graph, name: str, parameter: str, state: Mapping[str, Tensor], factor: np.ndarray | None) -> str:
    """Stores one weight as indices of shared values; a removed weight gets the index of a further value, 0."""
    import ml_dtypes
    from onnx import TensorProto

    index = state[f"index/{parameter}"].numpy().astype(np.int64)
    values = state[f"codebook/{parameter}"].numpy().astype(np.float32)
    if f"mask/{parameter}" in state:
        index = np.where(state[f"mask/{parameter}"].numpy(), index, len(values))
        values = np.append(values, np.float32(0))
    kind = np.dtype(ml_dtypes.uint4 if len(values) <= 16 else np.uint8 if len(values) <= 256 else np.uint16)
    axis = channel_axis(graph, name)
    del graph.values[name]
    graph.values[f"{name}/index"], graph.values[f"{name}/values"] = index.astype(kind), values
    graph.add("Cast", [f"{name}/index"], f"{name}/index/32", to=TensorProto.INT32)
    if factor is None:
        graph.add("Gather", [f"{name}/values", f"{name}/index/32"], name, axis=0)
        return kind.name
    shape = [1] * index.ndim
    shape[axis] = -1
    graph.values[f"{name}/factor"] = factor.astype(np.float32).reshape(shape)
    graph.add("Gather", [f"{name}/values", f"{name}/index/32"], f"{name}/shared", axis=0)
    graph.add("Mul", [f"{name}/shared", f"{name}/factor"], name)
    return kind.name


# ------------------------------------------------------------------ activations


def activations(model: nn.Module, which: str = "input") -> dict[str, Activation]:
    """By layer name how its input (or its output) is rounded; empty if a network rounds only weights."""
    found = {}
    for name, module in model.named_modules():
        scale, zero = (getattr(module, f"{which}_{part}", None) for part in ("scale", "zero"))
        if isinstance(scale, Tensor) and isinstance(zero, Tensor):
            found[name] = Activation(float(scale), int(zero))
    return found


def put_activations(graph: Graph, model: nn.Module) -> None:
    """Puts `QuantizeLinear` and `DequantizeLinear` before each layer with rounded inputs, and after a rounded output.

    Args:
        graph: the graph, after `put_codes`.
        model: its network, with the scales of activations among its buffers.

    Raises:
        UserError: layers share a weight, but round their inputs differently.
    """
    inputs, outputs = activations(model), activations(model, "output")
    for matrix in matrices(model):
        rounded = {inputs.get(layer) for layer in matrix.layers}
        if rounded == {None}:
            continue
        if len(rounded) > 1:
            raise UserError(
                f"onnx: layers {' and '.join(matrix.layers)} share '{matrix.name}' but round their inputs differently;"
                " use format torch or safetensors"
            )
        (activation,) = rounded
        assert activation is not None
        for node in _layers_with(graph, (matrix.name, *matrix.aliases)):
            _own_weight(graph, node)
            _round_input(graph, node, activation)
            _round_bias(graph, node, activation)
            for layer in matrix.layers:
                if layer in outputs:
                    _round_output(graph, node, outputs[layer])


def _layers_with(graph: Graph, names: Sequence[str]) -> list[Any]:
    """The nodes that multiply by a weight, also by a transposed one."""
    found = []
    for name in names:
        for node in graph.users(name):
            found += graph.users(node.output[0]) if node.op_type == "Transpose" else [node]
        found += [node for turned in graph.transposed.get(name, ()) for node in graph.users(turned)]
    return found


def _own_weight(graph: Graph, node: Any) -> None:
    """Gives a layer that shares its codes a `DequantizeLinear` of its own, as kernels need it."""
    made = graph.maker(node.input[1])
    if made is None or made.op_type != "DequantizeLinear" or len(graph.users(node.input[1])) == 1:
        return
    axis = attribute(made, "axis", 1)
    node.input[1] = graph.add("DequantizeLinear", made.input, f"{node.output[0]}/weight", axis=axis).output[0]


def _rounding(graph: Graph, x: str, activation: Activation) -> str:
    """Adds the rounding of a value, once, and returns the name of the result."""
    known = [node for node in graph.users(x) if node.op_type == "QuantizeLinear"]
    wanted = (np.float32(activation.scale), np.uint8(activation.zero))
    for node in known:
        if tuple(graph.values[name] for name in node.input[1:]) == wanted:
            (reader,) = graph.users(node.output[0])
            return str(reader.output[0])
    result = f"{x}/rounded{len(known) or ''}"
    scale, zero = f"{result}/scale", f"{result}/zero"
    graph.values |= {name: np.array(value) for name, value in zip((scale, zero), wanted, strict=True)}
    graph.add("QuantizeLinear", [x, scale, zero], f"{result}/codes")
    graph.add("DequantizeLinear", [f"{result}/codes", scale, zero], result)
    return result


def _round_input(graph: Graph, node: Any, activation: Activation) -> None:
    """Rounds a layer's input; also before a pooling or a change of shape, so that the layer before gives integers."""
    x = node.input[0]
    node.input[0] = _rounding(graph, x, activation)
    reader, source = None, x
    while (maker := graph.maker(source)) is not None and maker.op_type in _KEEP_ORDER and _read_once(graph, source):
        reader, source = maker, maker.input[0]
    if reader is not None and graph.maker(source) is not None:
        reader.input[0] = _rounding(graph, source, activation)


def _read_once(graph: Graph, name: str) -> bool:
    return graph.only_user(name) is not None


def _round_bias(graph: Graph, node: Any, activation: Activation) -> None:
    """Stores the bias as an integer of 32 bits, as int8 kernels add it; where it does not fit, it is added later."""
    weight = graph.maker(node.input[1])
    if len(node.input) < 3 or weight is None or weight.op_type != "DequantizeLinear":
        return
    bias, scale = graph.values.get(node.input[2]), graph.values[weight.input[1]]
    if bias is None or scale.ndim > 1:
        return
    step = np.broadcast_to(scale.astype(np.float64) * activation.scale, bias.shape).astype(np.float32)
    name = f"{node.output[0]}/bias"
    codes = np.round(bias.astype(np.float64) / step)
    if np.abs(codes).max(initial=0) < _LARGEST_BIAS:
        zero = np.zeros(len(bias), np.int32)
        parts = {f"{name}/codes": codes.astype(np.int32), f"{name}/scale": step, f"{name}/zero": zero}
        graph.values |= parts
        graph.add("DequantizeLinear", list(parts), name, axis=0)
        node.input[2] = name
        return
    result = node.output[0]
    shape = (-1,) if node.op_type == "Gemm" else (1, -1, *(1 for _ in attribute(node, "kernel_shape", (1, 1))))
    graph.values[name] = bias.reshape(shape)
    del node.input[2:]
    node.output[0] = f"{result}/sum"
    graph.add("Add", [f"{result}/sum", name], result)


def _round_output(graph: Graph, node: Any, activation: Activation) -> None:
    """Rounds a layer's output, after its bias."""
    result = node.output[0]
    after = graph.only_user(result)
    if after is not None and after.op_type == "Add" and any(name in graph.values for name in after.input):
        node, result = after, after.output[0]
    node.output[0] = f"{result}/exact"
    rounded = _rounding(graph, f"{result}/exact", activation)
    last = graph.maker(rounded)
    assert last is not None
    last.output[0] = result


def _inputs_of_weights(model: nn.Module) -> set[str]:
    """Names of the weights whose layers get rounded inputs."""
    rounded = activations(model)
    return {
        name
        for matrix in matrices(model)
        if any(layer in rounded for layer in matrix.layers)
        for name in (matrix.name, *matrix.aliases)
    }


@contextmanager
def without_rounding(model: nn.Module) -> Iterator[nn.Module]:
    """Within the context, layers do not round their inputs and outputs, so that torch writes them without it."""
    tables = [table for module in model.modules() for table in (module._forward_pre_hooks, module._forward_hooks)]
    before = [dict(table) for table in tables]
    for table in tables:
        for key in [key for key, hook in table.items() if hook in (round_input, round_output)]:
            del table[key]
    try:
        yield model
    finally:
        for table, hooks in zip(tables, before, strict=True):
            table.clear()
            table.update(hooks)
