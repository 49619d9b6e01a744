"""A network as an ONNX graph whose weights keep their parameters' names, so that codes can replace them.

torch writes the graph; its optimiser would rename weights and fold BatchNorm into them, so weights are inputs of the
graph while it runs. BatchNorm is then folded here, as a factor per output channel: rounding per channel commutes with
it, so the codes of a rounded weight stay as they are, and their scale takes the factor.

The graph is traced with zeros, and descriptions that torch adds to nodes are removed, because they contain paths of the
user's source. So a file contains weights and nothing else.

A network for texts gets the inputs `input_ids` and `attention_mask`, int64, in batches of any size and texts of any
length, if the network has no fixed one. Its table of positions says how many tokens a text can have at most.
"""

# B batch, C output channels, T tokens

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.inputs import IDS, MASK, Inputs, token_inputs
from pruneaudit.external.onnx_inputs import BATCH, INPUT, LENGTH, OUTPUT, takes_other_lengths
from pruneaudit.models._outputs import logits_in

OPSET = 21
"""The first with codes of 4 bits, and with a scale per group of weights."""
_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_NUM_TRACED = 2
"""Batch size while tracing: with 1, torch would fix the batch size."""


class Graph:
    """Nodes and initial values of an ONNX graph; names connect them."""

    def __init__(self, proto: Any) -> None:
        from onnx import numpy_helper

        self._proto = proto
        self.nodes: list[Any] = list(proto.graph.node)
        self.values: dict[str, np.ndarray] = {
            value.name: numpy_helper.to_array(value) for value in proto.graph.initializer
        }
        """Initial values by name: weights and constants."""
        self.transposed: dict[str, list[str]] = {}
        """By name of a weight that is stored transposed: the names of what its readers now read."""

    def copy(self) -> Graph:
        """A copy whose nodes and values can change independently."""
        made = copy.copy(self)
        made.nodes = [copy.deepcopy(node) for node in self.nodes]
        made.values, made.transposed = dict(self.values), {}
        return made

    def users(self, name: str) -> list[Any]:
        """The nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def maker(self, name: str) -> Any | None:
        """The node that computes a value; None for inputs and initial values."""
        return next((node for node in self.nodes if name in node.output), None)

    def is_output(self, name: str) -> bool:
        """Whether a value is an output of the graph."""
        return any(output.name == name for output in self._proto.graph.output)

    def only_user(self, name: str) -> Any | None:
        """The node that alone reads a value; None if there are more, or if the value is an output of the graph."""
        users = self.users(name)
        return users[0] if len(users) == 1 and not self.is_output(name) else None

    def add(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
        """Adds a node, anywhere: `model` puts all in order."""
        from onnx import helper

        node = helper.make_node(operation, list(inputs), [output], name=f"{output}/{operation}", **attributes)
        self.nodes.append(node)
        return node

    def remove(self, node: Any) -> None:
        """Removes a node."""
        self.nodes = [each for each in self.nodes if each is not node]

    def model(self) -> Any:
        """The graph as an ONNX model, with its nodes in order and without values that nothing reads."""
        import onnx
        from onnx import helper, numpy_helper

        nodes = _in_order(self.nodes)
        read = {name for node in nodes for name in node.input}
        values = [numpy_helper.from_array(value, name) for name, value in self.values.items() if name in read]
        graph = self._proto.graph
        made = helper.make_model(
            helper.make_graph(nodes, "network", graph.input, graph.output, values),
            opset_imports=self._proto.opset_import,
            functions=self._proto.functions,
            ir_version=self._proto.ir_version,
            producer_name="pruneaudit",
        )
        onnx.checker.check_model(made)
        return made


def attribute(node: Any, name: str, default: Any) -> Any:
    """An attribute of a node."""
    from onnx import helper

    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


class ByName(nn.Module):
    """A network for texts with plain arguments, as torch needs them to write it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """The network's answer for `input_ids` and `attention_mask` (B, T)."""
        return logits_in(self.network(**{IDS: input_ids, MASK: attention_mask}))


def float_graph(model: nn.Module, like: Inputs) -> Graph:
    """The graph of a network with float weights, for batches of any size, and for texts of any length.

    Args:
        model: the network, on the CPU.
        like: inputs (B, ...) of the shape and type to write it for; their values are not used.

    Raises:
        UserError: torch cannot write this network as ONNX, or only for one number of samples.
    """
    import onnx
    from onnxscript import optimizer

    traced: nn.Module = ByName(model) if isinstance(like, Mapping) else model
    handle = model.register_forward_hook(lambda _, inputs, output: logits_in(output))
    try:
        with _quiet(), torch.no_grad(), evaluating(model):
            program = torch.onnx.export(
                traced, dynamo=True, verbose=False, optimize=False, opset_version=OPSET, output_names=[OUTPUT],
                **_arguments(model, like),
            )  # fmt: skip
            assert program is not None
            proto = program.model_proto
            weights = list(proto.graph.initializer)
            del proto.graph.initializer[:]
            proto.graph.input.extend(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims) for weight in weights
            )
            proto = optimizer.optimize(proto)
    except Exception as error:  # ONNX does not support every network
        raise UserError(
            f"onnx: this network cannot be written ({in_one_line(error)}); use format torch or safetensors"
        ) from error
    finally:
        handle.remove()
    names = {weight.name for weight in weights}
    own = [each for each in proto.graph.input if each.name not in names]
    if not all(each.type.tensor_type.shape.dim[0].dim_param for each in own):
        raise UserError(
            f"onnx: tracing fixed the number of samples at {_NUM_TRACED}, expected a network for any number; write"
            " x.shape[0] for len(x) in its forward, or use format torch or safetensors"
        )
    del proto.graph.input[:]
    proto.graph.input.extend(own)
    proto.graph.initializer.extend(weights)
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        del node.metadata_props[:]
        node.doc_string = ""
    if isinstance(like, Mapping):
        _without_prefix(proto.graph, "network.")
        _name_axes(proto.graph)
    return Graph(proto)


def _arguments(model: nn.Module, like: Inputs) -> dict[str, Any]:
    """The inputs to trace a network with, and which of their axes can have any length."""
    if not isinstance(like, Mapping):
        x = torch.zeros(_NUM_TRACED, *like.shape[1:], dtype=like.dtype)
        return {"args": (x,), "input_names": [INPUT], "dynamic_shapes": ({0: torch.export.Dim(BATCH)},)}
    length = like[IDS].shape[1]
    texts = token_inputs(torch.zeros(_NUM_TRACED, length, dtype=torch.int64), torch.full((_NUM_TRACED,), length))
    axes: dict[int, Any] = {0: torch.export.Dim(BATCH)}
    if takes_other_lengths(model, texts):
        axes[1] = torch.export.Dim.AUTO
    return {"args": (), "kwargs": texts, "dynamic_shapes": {IDS: axes, MASK: axes}}


def _without_prefix(graph: Any, prefix: str) -> None:
    """Gives weights the names that they have without `ByName`."""
    for value in graph.initializer:
        value.name = value.name.removeprefix(prefix)
    _rename_inputs(graph, prefix)


def _rename_inputs(graph: Any, prefix: str) -> None:
    for node in graph.node:
        node.input[:] = [name.removeprefix(prefix) for name in node.input]
        for each in node.attribute:
            _rename_inputs(each.g, prefix)


def _name_axes(graph: Any) -> None:
    """Names the axes of texts and logits that can have any length; torch numbers them."""
    for value in (*graph.input, *graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, (BATCH, LENGTH), strict=False):
            if axis.dim_param:
                axis.dim_param = name


def fold_norms(graph: Graph) -> dict[str, np.ndarray]:
    """Folds each BatchNorm that follows a layer into that layer's bias, and returns the factors for its weight.

    Returns:
        By the weight's name a factor per output channel (C,) float64, which can be negative or 0. The weights in the
        graph have not been multiplied by it yet; see `scaled`.
    """
    factors: dict[str, np.ndarray] = {}
    for norm in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        layer = graph.maker(norm.input[0])
        if layer is None or not _can_take_factors(graph, layer, norm):
            continue
        gamma, beta, mean, var = (graph.values[name].astype(np.float64) for name in norm.input[1:5])
        factor = gamma / np.sqrt(var + attribute(norm, "epsilon", 1e-5))
        weight, *rest = layer.input[1:]
        bias = graph.values[rest[0]].astype(np.float64) if rest and rest[0] else 0.0
        dtype = graph.values[weight].dtype
        graph.values[f"{weight}/bias"] = ((bias - mean) * factor + beta).astype(dtype)
        del layer.input[2:]
        layer.input.append(f"{weight}/bias")
        layer.output[0] = norm.output[0]
        graph.remove(norm)
        factors[weight] = factor
    return factors


def _can_take_factors(graph: Graph, layer: Any, norm: Any) -> bool:
    """Whether a layer's only reader is this BatchNorm, and a factor per output channel fits its weight."""
    is_alone = len(graph.users(layer.output[0])) == 1 and not graph.is_output(layer.output[0])
    if layer.op_type not in _LAYERS or not is_alone:
        return False
    if any(name not in graph.values for name in (*norm.input[1:], *layer.input[1:]) if name):
        return False
    if len(graph.users(layer.input[1])) > 1 or attribute(norm, "training_mode", 0):
        return False
    if layer.op_type == "Gemm":
        return bool(attribute(layer, "transB", 0)) and attribute(layer, "alpha", 1.0) == 1.0
    return layer.op_type == "Conv" or attribute(layer, "group", 1) == 1


def channel_axis(graph: Graph, weight: str) -> int:
    """The axis of a weight's output channels."""
    return int(any(node.op_type == "ConvTranspose" for node in graph.users(weight)))


def scaled(weight: np.ndarray, factor: np.ndarray, axis: int) -> np.ndarray:
    """A weight times a factor per output channel, in its own type."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.asarray(weight.astype(np.float64) * factor.reshape(shape)).astype(weight.dtype)


def _in_order(nodes: Sequence[Any]) -> list[Any]:
    """The nodes, each after those whose outputs it reads."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    ordered: list[Any] = []
    done: set[int] = set()
    for start in range(len(nodes)):
        waiting = [start]
        while waiting:
            index = waiting[-1]
            before = [] if index in done else [makers[name] for name in nodes[index].input if name in makers]
            if missing := [each for each in before if each not in done]:
                waiting.extend(missing)
                continue
            waiting.pop()
            if index not in done:
                done.add(index)
                ordered.append(nodes[index])
    return ordered


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's internal messages from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
